// A C++ program that generates text with every kind of call, and with a callback that is a lambda.
// tests/api/cxx.sh compiles this under several standards. usage: cxx_run MODEL
#include <weft.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

static void check(weft_status status, const weft_error &err)
{
    if (status != WEFT_OK) {
        throw std::runtime_error(std::string(weft_status_name(status)) + ": " + err.message);
    }
}

// A handle that is released when it goes out of scope.
template <class T, void (*release)(T **)> struct releaser {
    void operator()(T *handle) const { release(&handle); }
};
typedef std::unique_ptr<weft_model, releaser<weft_model, weft_model_release> > model_ptr;
typedef std::unique_ptr<weft_engine, releaser<weft_engine, weft_engine_release> > engine_ptr;
typedef std::unique_ptr<weft_seq, releaser<weft_seq, weft_seq_release> > seq_ptr;

static std::vector<int32_t> tokens_of(const weft_model *model, const std::string &text)
{
    weft_error err;
    std::size_t n = 0;
    std::vector<int32_t> tokens(text.size() + 2);
    check(weft_tokenize(model, text.data(), text.size(), WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_SPECIAL,
                        tokens.data(), tokens.size(), &n, &err),
          err);
    tokens.resize(n);
    return tokens;
}

static std::string continued(weft_engine *engine, const std::vector<int32_t> &prompt)
{
    weft_error err;
    weft_seq *opened = nullptr;
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    greedy.temperature = 0;
    check(weft_seq_open(engine, &greedy, &opened, &err), err);
    seq_ptr seq(opened);
    check(weft_seq_append(seq.get(), prompt.data(), prompt.size(), &err), err);
    std::string text;
    for (int i = 0; i < 12 && weft_seq_finish(seq.get()) == WEFT_RUNNING; i++) {
        int32_t token;
        char piece[256];
        std::size_t n;
        check(weft_engine_step(engine, nullptr, &err), err);
        check(weft_seq_next(seq.get(), &token, &err), err);
        check(weft_seq_text(seq.get(), piece, sizeof piece, &n, &err), err);
        text.append(piece, n);
    }
    return text;
}

int main(int argc, char **argv)
try {
    weft_error err;
    weft_model *model = nullptr;
    weft_engine *engine = nullptr;
    weft_model_params how = WEFT_MODEL_PARAMS_INIT;
    how.log = [](void *, weft_log_level, const char *text) { std::fprintf(stderr, "%s\n", text); };
    check(weft_model_open(argc > 1 ? argv[1] : "model.gguf", &how, &model, &err), err);
    model_ptr kept_model(model);
    check(weft_engine_open(model, nullptr, &engine, &err), err);
    engine_ptr kept_engine(engine);
    weft_engine_info info = WEFT_INIT(weft_engine_info);
    check(weft_engine_get_info(engine, &info, &err), err);
    std::printf("%s:%s\n", info.backend,
                continued(engine, tokens_of(model, "The capital of France is")).c_str());
} catch (const std::exception &failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return 1;
}
