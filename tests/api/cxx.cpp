// weft.h in C++: every WEFT_..._INIT, as in C. tests/api/cxx.sh compiles this under several
// standards.
#include "weft.h"

#include <cstdio>

int main()
{
    weft_model_params model = WEFT_MODEL_PARAMS_INIT;
    weft_chat_params chat = WEFT_CHAT_PARAMS_INIT;
    weft_prompt_params prompt = WEFT_PROMPT_PARAMS_INIT;
    weft_reply_params reply = WEFT_REPLY_PARAMS_INIT;
    weft_reply_event event = WEFT_REPLY_EVENT_INIT;
    const weft_engine_params engine = WEFT_ENGINE_PARAMS_INIT;
    weft_embed_params embed = WEFT_EMBED_PARAMS_INIT;
    weft_sampling s = WEFT_SAMPLING_INIT;
    const weft_trigger trigger = WEFT_TRIGGER_INIT;
    weft_model_info info = WEFT_INIT(weft_model_info);
    // Most fields have values of their own, so that fields in a wrong order would be noticed.
    bool sampling = s.size == sizeof s && s.temperature > 0 && s.top_k > 1 && s.top_p < 1 &&
                    s.min_p < s.top_p && s.min_p > 0 && s.typical_p == 1 && s.repeat_penalty == 1 &&
                    s.frequency_penalty == 0 && s.presence_penalty == 0 && s.repeat_last_n > 1 &&
                    s.seed == 0 && !s.ignore_end && s.bias == NULL && s.n_bias == 0;
    bool plain = model.size == sizeof model && !model.no_mmap && model.log_user == NULL &&
                 chat.size == sizeof chat && chat.template_name == NULL && chat.last == NULL &&
                 prompt.size == sizeof prompt && prompt.messages == NULL &&
                 reply.size == sizeof reply && event.size == sizeof event &&
                 engine.size == sizeof engine && engine.device == NULL && engine.n_ctx == 0 &&
                 engine.profile_user == NULL && !engine.pin_threads && embed.size == sizeof embed &&
                 embed.pooling == WEFT_POOL_MODEL && info.size == sizeof info && info.bos == 0;
    bool ok = sampling && plain && trigger.size == sizeof trigger && trigger.n_texts == 0;
    model.vocab_only = chat.continues = embed.raw = true;
    std::puts(ok ? "as in C" : "other than in C");
    return ok ? 0 : 1;
}
