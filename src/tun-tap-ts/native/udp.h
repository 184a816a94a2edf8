/* What the files on UDP ports share. */
#ifndef TUN_TAP_UDP_H
#define TUN_TAP_UDP_H

#include "io.h"

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* What every kernel with UDP_SEGMENT takes. */
#define SEGMENTS_PER_SEND 64
/* Payload of the largest datagram over IPv4. */
#define DATAGRAM_MAX 65507

/* Whether the way to this address holds the largest datagram in one piece: loopback, or a device (a veth pair, say) that was told so. */
bool udp_is_here(uint32_t address);

#endif
