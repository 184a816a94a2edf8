/* The packet engine (io.c) as JavaScript sees it: one object, closed by hand, by its collection or by the end of its thread. */
#include <stdlib.h>

#include "bindings.h"
#include "io.h"

/* One PacketIo. Freed when both the JavaScript object and the libuv handle are gone. */
struct engine {
  struct io io;
  napi_env env;
  napi_ref arena, rx, tx, on_batch, on_port_error;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook;
  int holders;
};

static void release(struct engine *e) {
  if (--e->holders == 0) free(e);
}

/* Calls JavaScript from the event loop. What it throws becomes an uncaught exception; returns NULL then. */
static napi_value call(struct engine *e, napi_ref function, size_t argc, napi_value *argv) {
  napi_value f, receiver, result = NULL, thrown;
  napi_get_reference_value(e->env, function, &f);
  napi_get_global(e->env, &receiver);
  napi_status status = napi_make_callback(e->env, e->context, receiver, f, argc, argv, &result);
  if (status == napi_ok) return result;
  bool pending = false;
  napi_is_exception_pending(e->env, &pending);
  if (pending && napi_get_and_clear_last_exception(e->env, &thrown) == napi_ok) napi_fatal_exception(e->env, thrown);
  return NULL;
}

static uint32_t on_batch(struct io *io, uint32_t count) {
  struct engine *e = (struct engine *)io;
  napi_handle_scope scope;
  napi_open_handle_scope(e->env, &scope);
  napi_value argument;
  napi_create_uint32(e->env, count, &argument);
  napi_value result = call(e, e->on_batch, 1, &argument);
  int32_t frames = result ? as_int(e->env, result) : 0;
  napi_close_handle_scope(e->env, scope);
  return frames > 0 ? (uint32_t)frames : 0;
}

static void on_port_error(struct io *io, uint32_t port, int err) {
  struct engine *e = (struct engine *)io;
  napi_handle_scope scope;
  napi_open_handle_scope(e->env, &scope);
  napi_value argument[2] = {number(e->env, port), number(e->env, err)};
  call(e, e->on_port_error, 2, argument);
  napi_close_handle_scope(e->env, scope);
}

static void on_closed(uv_handle_t *handle) {
  struct engine *e = handle->data;
  napi_remove_async_cleanup_hook(e->hook);
  release(e);
}

static void close_engine(struct engine *e) {
  if (e->io.closed) return;
  io_close(&e->io, on_closed);
  napi_ref refs[] = {e->arena, e->rx, e->tx, e->on_batch, e->on_port_error};
  for (size_t i = 0; i < sizeof refs / sizeof *refs; i++) napi_delete_reference(e->env, refs[i]);
  napi_async_destroy(e->env, e->context);
}

/* The environment (a worker thread, say) ends while the engine is open. */
static void on_environment_end(napi_async_cleanup_hook_handle hook, void *arg) {
  (void)hook;
  close_engine(arg);
}

static void on_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  release(data);
}

static bool has_type(napi_env env, napi_value v, napi_valuetype wanted) {
  napi_valuetype type;
  return napi_typeof(env, v, &type) == napi_ok && type == wanted;
}

/* False when it is no typed array of that type. */
static bool typed_array(napi_env env, napi_value v, napi_typedarray_type wanted, void **data, size_t *length) {
  bool is = false;
  napi_typedarray_type type;
  return napi_is_typedarray(env, v, &is) == napi_ok && is &&
         napi_get_typedarray_info(env, v, &type, length, data, NULL, NULL) == napi_ok && type == wanted;
}

/* Takes the memory, the sizes and the functions from ioCreate's arguments; false when they make no sense. */
static bool take_arguments(napi_env env, napi_value a[ARGS_MAX], struct io *io) {
  size_t arena = 0, rx = 0, tx = 0;
  if (!typed_array(env, a[0], napi_uint8_array, (void **)&io->arena, &arena)) return false;
  if (!typed_array(env, a[1], napi_int32_array, (void **)&io->rx, &rx)) return false;
  if (!typed_array(env, a[2], napi_int32_array, (void **)&io->tx, &tx)) return false;
  if (!has_type(env, a[6], napi_function) || !has_type(env, a[7], napi_function)) return false;
  int32_t rx_bytes = as_int(env, a[3]), budget_frames = as_int(env, a[4]), budget_bytes = as_int(env, a[5]);
  if (rx_bytes <= 0 || (size_t)rx_bytes > arena || budget_frames <= 0 || budget_bytes <= 0) return false;
  io->arena_bytes = arena;
  io->rx_frames = (uint32_t)(rx / STRIDE);
  io->tx_frames = (uint32_t)(tx / STRIDE);
  io->rx_end = (uint64_t)rx_bytes;
  io->budget_frames = (uint32_t)budget_frames;
  io->budget_bytes = (uint32_t)budget_bytes;
  return true;
}

/* ioCreate(arena, rx, tx, rxBytes, budgetFrames, budgetBytes, onBatch, onPortError): external */
static napi_value io_create(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX], name, external;
  uv_loop_t *loop;
  args(env, info, a);
  struct engine *e = calloc(1, sizeof *e);
  if (!e) return throw_errno(env, ENOMEM, "memory");
  if (!take_arguments(env, a, &e->io)) {
    free(e);
    return throw_errno(env, EINVAL, "arguments");
  }
  napi_get_uv_event_loop(env, &loop);
  int err = io_start(&e->io, loop);
  if (err) {
    /* Out of descriptors or memory: nothing was registered, and the struct stays, for libuv may hold the handle. */
    return throw_errno(env, -err, "epoll");
  }
  e->env = env;
  e->holders = 2;
  napi_create_reference(env, a[0], 1, &e->arena);
  napi_create_reference(env, a[1], 1, &e->rx);
  napi_create_reference(env, a[2], 1, &e->tx);
  e->io.on_batch = on_batch;
  e->io.on_port_error = on_port_error;
  napi_create_reference(env, a[6], 1, &e->on_batch);
  napi_create_reference(env, a[7], 1, &e->on_port_error);
  napi_create_string_utf8(env, "tun-tap-ts", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &e->context);
  napi_add_async_cleanup_hook(env, on_environment_end, e, &e->hook);
  napi_create_external(env, e, on_collected, NULL, &external);
  return external;
}

/* The engine of the first argument; NULL when it is closed. */
static struct engine *engine_of(napi_env env, napi_value external) {
  void *data = NULL;
  if (napi_get_value_external(env, external, &data) != napi_ok) return NULL;
  struct engine *e = data;
  return e->io.closed ? NULL : e;
}

static struct port *port_of(napi_env env, struct engine *e, napi_value id) {
  int32_t n = as_int(env, id);
  return e && n >= 0 && n < PORTS_MAX ? &e->io.port[n] : NULL;
}

/* ioAdd(io, fd, kind, vnet, gro, merge, uso): port id */
static napi_value io_add_port(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct engine *e = engine_of(env, a[0]);
  if (!e) return throw_errno(env, EBADF, "closed");
  int id = io_add(&e->io, as_int(env, a[1]), (uint8_t)as_int(env, a[2]), as_bool(env, a[3]), as_bool(env, a[4]),
                  as_bool(env, a[5]), as_bool(env, a[6]));
  return id < 0 ? throw_errno(env, -id, "add port") : number(env, id);
}

/* ioReceive(io): frames are handed up from now on */
static napi_value io_receive_frames(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct engine *e = engine_of(env, a[0]);
  int err = e ? io_receive(&e->io) : 0;
  return err ? throw_errno(env, -err, "epoll") : NULL;
}

/* ioSetNiceness(io, niceness) */
static napi_value io_niceness(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct engine *e = engine_of(env, a[0]);
  if (!e) return throw_errno(env, EBADF, "closed");
  int err = turns_set_niceness(&e->io.turns, as_int(env, a[1]));
  return err ? throw_errno(env, -err, "sched_setattr") : NULL;
}

/* ioTakeWhole(io, peer, takes): whether it will be sent super-packets whole */
static napi_value io_take_whole(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX], result;
  args(env, info, a);
  struct engine *e = engine_of(env, a[0]);
  bool takes = e && udp_take_whole(&e->io, (uint32_t)as_int(env, a[1]), as_bool(env, a[2]));
  napi_get_boolean(env, takes, &result);
  return result;
}

/* ioRemove(io, id): the port is silent at once; its id stays taken until ioRelease */
static napi_value io_remove_port(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct engine *e = engine_of(env, a[0]);
  if (port_of(env, e, a[1])) io_remove(&e->io, (uint32_t)as_int(env, a[1]));
  return NULL;
}

/* ioRelease(io, id) */
static napi_value io_release_port(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct port *p = port_of(env, engine_of(env, a[0]), a[1]);
  if (p && p->state == PORT_RETIRED) p->state = PORT_FREE;
  return NULL;
}

/* ioFlush(io, count) */
static napi_value io_flush_frames(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct engine *e = engine_of(env, a[0]);
  int32_t count = as_int(env, a[1]);
  if (e && count > 0) io_flush(&e->io, (uint32_t)count);
  return NULL;
}

/* ioStats(io, id, Float64Array): false when there is no such port */
static napi_value io_stats(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX], result;
  args(env, info, a);
  struct port *p = port_of(env, engine_of(env, a[0]), a[1]);
  void *data = NULL;
  size_t length = 0;
  napi_get_typedarray_info(env, a[2], NULL, &length, &data, NULL, NULL);
  bool found = p && p->state != PORT_FREE && length >= COUNTERS;
  if (found && p->kind == KIND_UDP && p->state == PORT_LIVE) p->count[RX_DROPPED] = udp_kernel_drops(p->fd);
  for (int i = 0; found && i < COUNTERS; i++) ((double *)data)[i] = (double)p->count[i];
  napi_get_boolean(env, found, &result);
  return result;
}

/* ioRef(io, keepsLoopAlive) */
static napi_value io_ref(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct engine *e = engine_of(env, a[0]);
  if (!e) return NULL;
  if (as_bool(env, a[1]))
    uv_ref((uv_handle_t *)&e->io.poll);
  else
    uv_unref((uv_handle_t *)&e->io.poll);
  return NULL;
}

/* ioClose(io) */
static napi_value io_close_engine(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct engine *e = engine_of(env, a[0]);
  if (e) close_engine(e);
  return NULL;
}

void set_engine_bindings(napi_env env, napi_value exports) {
  static const struct binding bindings[] = {
      {"ioCreate", io_create},       {"ioAdd", io_add_port},     {"ioRemove", io_remove_port},
      {"ioRelease", io_release_port}, {"ioFlush", io_flush_frames}, {"ioStats", io_stats},
      {"ioRef", io_ref},             {"ioClose", io_close_engine}, {"ioSetNiceness", io_niceness},
      {"ioTakeWhole", io_take_whole}, {"ioReceive", io_receive_frames},
  };
  set_bindings(env, exports, bindings, sizeof bindings / sizeof *bindings);
}
