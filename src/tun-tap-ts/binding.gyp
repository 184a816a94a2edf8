{
  "targets": [
    {
      "target_name": "tun_tap",
      "sources": ["native/module.c", "native/engine.c", "native/io.c", "native/netns.c", "native/tap.c", "native/tap_tx.c", "native/udp.c", "native/udp_rx.c", "native/udp_tx.c", "native/turns.c", "native/offload.c"],
      "defines": ["_GNU_SOURCE", "NAPI_VERSION=8"],
      "cflags": ["-std=gnu11", "-O3", "-Wall", "-Wextra", "-Wno-cast-function-type"]
    }
  ]
}
