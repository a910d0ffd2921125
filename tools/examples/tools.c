/* A model calls a tool: the prompt lists the tools, the call follows their schemas, and events tell
 * of it while it is generated. Messages and tools are JSON in the shape of OpenAI's API.
 *
 *   tools model.gguf '[{"role": "user", "content": "Weather?"}]' '[{"type": "function", ...}]' */
#include "example.h"

/* Shows what is certain of the answer by now. */
static void show(weft_reply *reply)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    while (weft_reply_next(reply, &e)) {
        printf("%s%.*s", e.kind == WEFT_REPLY_CALL ? e.name : "", (int)e.n_text, e.text);
    }
}

int main(int argc, char **argv)
{
    weft_reply_params how = WEFT_REPLY_PARAMS_INIT;
    weft_prompt_params p = WEFT_PROMPT_PARAMS_INIT;
    int32_t tokens[4 * MAX_TOKENS], token;
    size_t n;
    weft_model *model;
    weft_engine *engine;
    weft_seq *seq;
    weft_prompt *prompt;
    weft_reply *reply;
    how.choice = WEFT_TOOLS_REQUIRED;
    how.no_parallel = true;
    p.messages = argc > 3 ? argv[2] : "[]";
    p.tools = argc > 3 ? argv[3] : "[]";
    p.n_messages = strlen(p.messages);
    p.n_tools = strlen(p.tools);
    CHECK(weft_model_open(argc > 1 ? argv[1] : "model.gguf", NULL, &model, &err));
    CHECK(weft_prompt_open(model, &p, &prompt, &err));
    CHECK(weft_prompt_tokens(prompt, 0, tokens, 4 * MAX_TOKENS, &n, &err));
    CHECK(weft_reply_open(prompt, &how, &reply, &err));
    CHECK(weft_engine_open(model, NULL, &engine, &err));
    CHECK(weft_seq_open(engine, NULL, &seq, &err));
    CHECK(weft_seq_append(seq, tokens, n, &err));
    CHECK(weft_reply_constrain(reply, seq, &err));
    while (weft_seq_finish(seq) == WEFT_RUNNING) {
        CHECK(weft_engine_step(engine, NULL, &err));
        CHECK(weft_seq_next(seq, &token, &err));
        add_token(reply, model, seq, token);
        show(reply);
    }
    CHECK(weft_reply_end(reply, &err));
    show(reply);
    weft_reply_release(&reply);
    weft_prompt_release(&prompt);
    weft_seq_release(&seq);
    weft_engine_release(&engine);
    weft_model_release(&model);
}
