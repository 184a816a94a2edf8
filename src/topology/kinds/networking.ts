/** networking.k8s.io/v1: fields and their types; what they may say is the API server's to check. */
import { z } from "zod";
import { labelSelector, metadata, opaque, port, protocol } from "./common.js";

const typeMeta = { apiVersion: z.string(), kind: z.string() };

const policyPorts = z.array(
  z.strictObject({
    protocol: protocol.optional(),
    port: z.union([port, z.string()]).optional(),
    endPort: port.optional(),
  }),
);

const peers = z.array(
  z.strictObject({
    podSelector: labelSelector.optional(),
    namespaceSelector: labelSelector.optional(),
    ipBlock: z.strictObject({ cidr: z.string(), except: z.array(z.string()).optional() }).optional(),
  }),
);

export const networkPolicy = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  spec: z.strictObject({
    podSelector: labelSelector.optional(),
    policyTypes: z.array(z.enum(["Ingress", "Egress"])).optional(),
    ingress: z.array(z.strictObject({ ports: policyPorts.optional(), from: peers.optional() })).optional(),
    egress: z.array(z.strictObject({ ports: policyPorts.optional(), to: peers.optional() })).optional(),
  }),
});

export const ingress = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  spec: z.strictObject({
    ingressClassName: z.string().optional(),
    ...opaque("defaultBackend", "rules", "tls"),
  }),
  ...opaque("status"),
});

export const ingressClass = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  spec: z.strictObject({ controller: z.string(), ...opaque("parameters") }),
});

export const serviceCidr = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  spec: z.strictObject({ cidrs: z.array(z.string()).min(1).max(2) }),
  ...opaque("status"),
});
