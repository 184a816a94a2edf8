/* What all N-API bindings share: arguments in, errors out as `Error` with `code` (errno name) and the failed step as message. */
#ifndef TUN_TAP_BINDINGS_H
#define TUN_TAP_BINDINGS_H

#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <uv.h>

#define ARGS_MAX 11

static inline napi_value throw_errno(napi_env env, int err, const char *step) {
  char name[32];
  /* libuv has no name for what a TAP says when its device has gone. */
  if (err == EBADFD)
    strcpy(name, "EBADFD");
  else
    uv_err_name_r(-err, name, sizeof name);
  napi_throw_error(env, name, step);
  return NULL;
}

static inline void args(napi_env env, napi_callback_info info, napi_value argv[ARGS_MAX]) {
  size_t argc = ARGS_MAX;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
}

static inline int32_t as_int(napi_env env, napi_value v) {
  int32_t n = 0;
  napi_get_value_int32(env, v, &n);
  return n;
}

static inline bool as_bool(napi_env env, napi_value v) {
  bool b = false;
  napi_get_value_bool(env, v, &b);
  return b;
}

/* False when the string does not fit. */
static inline bool as_text(napi_env env, napi_value v, char *buffer, size_t size) {
  size_t length = 0;
  buffer[0] = 0;
  return napi_get_value_string_utf8(env, v, NULL, 0, &length) == napi_ok && length < size &&
         napi_get_value_string_utf8(env, v, buffer, size, &length) == napi_ok && strlen(buffer) == length;
}

static inline napi_value number(napi_env env, double n) {
  napi_value v;
  napi_create_double(env, n, &v);
  return v;
}

static inline void set(napi_env env, napi_value object, const char *key, napi_value value) {
  napi_set_named_property(env, object, key, value);
}

struct binding {
  const char *name;
  napi_callback call;
};

static inline void set_bindings(napi_env env, napi_value exports, const struct binding *bindings, size_t count) {
  for (size_t i = 0; i < count; i++) {
    napi_value f;
    napi_create_function(env, bindings[i].name, NAPI_AUTO_LENGTH, bindings[i].call, NULL, &f);
    set(env, exports, bindings[i].name, f);
  }
}

/* engine.c */
void set_engine_bindings(napi_env env, napi_value exports);

#endif
