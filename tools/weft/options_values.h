/* What the rows of the option table (options.c) call for values that are more than a number, a
 * string or a choice. All of them are arg_option.parse: `fields` is a struct options. */
#ifndef WEFT_OPTIONS_VALUES_H
#define WEFT_OPTIONS_VALUES_H

#include "weft/options.h"

/* These functions check a value and store it. False: *err says what was expected. */
bool options_parse_seed(void *fields, const char *value, struct arg_error *err);
bool options_parse_stop(void *fields, const char *value, struct arg_error *err);
bool options_parse_device(void *fields, const char *value, struct arg_error *err);
bool options_parse_shell(void *fields, const char *value, struct arg_error *err);
bool options_parse_bias(void *fields, const char *value, struct arg_error *err);
bool options_parse_model(void *fields, const char *value, struct arg_error *err);
bool options_parse_shard(void *fields, const char *value, struct arg_error *err);
bool options_parse_pair(void *fields, const char *value, struct arg_error *err);
bool options_parse_host(void *fields, const char *value, struct arg_error *err);
bool options_parse_name(void *fields, const char *value, struct arg_error *err);
bool options_parse_origin(void *fields, const char *value, struct arg_error *err);
bool options_parse_key(void *fields, const char *value, struct arg_error *err);

/* Options of llama.cpp that are taken and change nothing. These functions add a remark where a
 * user may expect something else. */
bool options_remark_gpu_layers(void *fields, const char *value, struct arg_error *err);
bool options_remark_one_gpu(void *fields, const char *value, struct arg_error *err);
bool options_remark_main_gpu(void *fields, const char *value, struct arg_error *err);
bool options_remark_threads(void *fields, const char *value, struct arg_error *err);
bool options_remark_chat(void *fields, const char *value, struct arg_error *err);
bool options_remark_templates(void *fields, const char *value, struct arg_error *err);
bool options_remark_shift(void *fields, const char *value, struct arg_error *err);
bool options_remark_kv(void *fields, const char *value, struct arg_error *err);

#endif
