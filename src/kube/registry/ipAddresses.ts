/**
 * IPAddress objects: one for each ClusterIP, written and deleted in the transaction that writes the Service
 * (kubernetes pkg/registry/core/service/ipallocator).
 */
import { randomUUID } from "node:crypto";
import type { Compare, Operation } from "../../store/index.js";
import { resourceInfo } from "../resources.js";
import { IP_ADDRESS } from "../schemas/networking.js";
import { canonical, encode, keyOf, type Stored, timestamp } from "./object.js";
import { familyOf } from "./serviceRange.js";

const IP_ADDRESSES = resourceInfo("ipaddresses");

/** What a write of a Service does besides. */
export interface SideEffects {
  readonly compares: readonly Compare[];
  readonly operations: readonly Operation[];
}

/** The objects of the addresses that a Service takes and leaves. */
export function ipAddressEffects(
  service: { readonly namespace: string; readonly name: string },
  taken: readonly string[],
  left: readonly string[],
  nowMs: number,
): SideEffects {
  const keys = (ips: readonly string[]) => ips.map((ip) => keyOf(IP_ADDRESSES, undefined, ip));
  return {
    compares: keys(taken).map((key) => ({ key, target: "createRevision", result: "=", value: 0 })),
    operations: [
      ...taken.map((ip): Operation => {
        const value = encode(ipAddressOf(ip, service, nowMs));
        return { type: "put", key: keyOf(IP_ADDRESSES, undefined, ip), value };
      }),
      ...keys(left).map((key): Operation => ({ type: "delete", key })),
    ],
  };
}

function ipAddressOf(
  ip: string,
  service: { readonly namespace: string; readonly name: string },
  nowMs: number,
): Stored {
  return canonical(IP_ADDRESS, {
    apiVersion: IP_ADDRESSES.apiVersion,
    kind: IP_ADDRESSES.kind,
    metadata: {
      name: ip,
      uid: randomUUID(),
      creationTimestamp: timestamp(nowMs),
      labels: {
        "ipaddress.kubernetes.io/ip-family": familyOf(ip),
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
      },
    },
    spec: { parentRef: { group: "", resource: "services", ...service } },
  });
}
