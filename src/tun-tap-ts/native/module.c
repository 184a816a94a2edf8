/* Devices and sockets as JavaScript sees them: descriptors. */
#include <unistd.h>

#include "bindings.h"
#include "io.h"
#include "netns.h"
#include "tap.h"

/* openTap(name, netns, tun, vnet, persist, offloads): { fd, name, granted } */
static napi_value open_tap(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX], result, name;
  char netns[4096];
  struct tap_request r = {.fd = -1};
  args(env, info, a);
  if (!as_text(env, a[0], r.name, sizeof r.name)) return throw_errno(env, EINVAL, "name");
  if (!as_text(env, a[1], netns, sizeof netns)) return throw_errno(env, EINVAL, "open netns");
  r.netns = *netns ? netns : NULL;
  r.tun = as_bool(env, a[2]);
  r.vnet = as_bool(env, a[3]);
  r.persist = as_bool(env, a[4]);
  r.offloads = as_bool(env, a[5]);
  struct failure f = tap_open(&r);
  if (f.err) return throw_errno(env, f.err, f.step);
  napi_create_object(env, &result);
  napi_create_string_utf8(env, r.name, NAPI_AUTO_LENGTH, &name);
  set(env, result, "fd", number(env, r.fd));
  set(env, result, "name", name);
  set(env, result, "granted", number(env, r.granted));
  return result;
}

/* openTcp(netns, address, port, ipv6Only): fd */
static napi_value open_tcp(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  char netns[4096], address[64];
  args(env, info, a);
  if (!as_text(env, a[0], netns, sizeof netns)) return throw_errno(env, EINVAL, "open netns");
  if (!as_text(env, a[1], address, sizeof address)) return throw_errno(env, EINVAL, "address");
  struct tcp_request r = {.address = address, .port = (uint16_t)as_int(env, a[2]), .ipv6_only = as_bool(env, a[3]), .fd = -1};
  struct failure f = tcp_open(netns, &r);
  return f.err ? throw_errno(env, f.err, f.step) : number(env, r.fd);
}

/* setPersist(fd, persist) */
static napi_value set_persist(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  struct failure f = tap_set_persist(as_int(env, a[0]), as_bool(env, a[1]));
  return f.err ? throw_errno(env, f.err, f.step) : NULL;
}

/* moveToNetns(name, netns) */
static napi_value move_to_netns(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  char name[IFNAMSIZ], netns[4096];
  args(env, info, a);
  if (!as_text(env, a[0], name, sizeof name)) return throw_errno(env, EINVAL, "name");
  if (!as_text(env, a[1], netns, sizeof netns)) return throw_errno(env, EINVAL, "open netns");
  struct failure f = tap_move(name, netns);
  return f.err ? throw_errno(env, f.err, f.step) : NULL;
}

/* openUdp(address, port, reuse, gro, sndbufBytes, rcvbufBytes): { fd, port } */
static napi_value open_udp(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX], result;
  char address[16];
  const char *step;
  args(env, info, a);
  if (!as_text(env, a[0], address, sizeof address)) return throw_errno(env, EINVAL, "address");
  uint16_t port = (uint16_t)as_int(env, a[1]);
  int fd = udp_open(address, &port, as_bool(env, a[2]), as_bool(env, a[3]), as_int(env, a[4]), as_int(env, a[5]), &step);
  if (fd < 0) return throw_errno(env, -fd, step);
  napi_create_object(env, &result);
  set(env, result, "fd", number(env, fd));
  set(env, result, "port", number(env, port));
  return result;
}

/* closeFd(fd) */
static napi_value close_fd(napi_env env, napi_callback_info info) {
  napi_value a[ARGS_MAX];
  args(env, info, a);
  close(as_int(env, a[0]));
  return NULL;
}

NAPI_MODULE_INIT() {
  static const struct binding bindings[] = {
      {"openTap", open_tap}, {"setPersist", set_persist}, {"moveToNetns", move_to_netns},
      {"openTcp", open_tcp}, {"openUdp", open_udp},       {"closeFd", close_fd},
  };
  set_bindings(env, exports, bindings, sizeof bindings / sizeof *bindings);
  set_engine_bindings(env, exports);
  return exports;
}
