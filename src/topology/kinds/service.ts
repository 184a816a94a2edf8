/** core/v1 Service and Endpoints, discovery.k8s.io/v1 EndpointSlice. */
import { z } from "zod";
import { parseAddress } from "../address.js";
import { parseAddress6 } from "../address6.js";
import { dnsLabel, ip } from "../schema.js";
import { metadata, opaque, port, portOrName, protocol, stringMap } from "./common.js";

const typeMeta = { apiVersion: z.string(), kind: z.string() };
/** RFC 1035 label, as Services and their ports have. */
const serviceName = z
  .string()
  .max(63)
  .regex(
    /^[a-z]([-a-z0-9]*[a-z0-9])?$/,
    "is not a Service name; use lower-case letters, digits and -, beginning with a letter",
  );

const servicePort = z.strictObject({
  name: dnsLabel(63).optional(),
  port,
  targetPort: portOrName.optional(),
  nodePort: port.optional(),
  protocol: protocol.optional(),
  appProtocol: z.string().optional(),
});

const serviceSpec = z.strictObject({
  type: z.enum(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]).optional(),
  selector: stringMap.optional(),
  ports: z.array(servicePort).optional(),
  clusterIP: z
    .string()
    .refine(
      (text) => ["", "None"].includes(text) || (parseAddress(text) ?? parseAddress6(text)) !== undefined,
      'is not an IP address and not "None"',
    )
    .optional(),
  externalIPs: z.array(ip).optional(),
  sessionAffinity: z.enum(["None", "ClientIP"]).optional(),
  sessionAffinityConfig: z
    .strictObject({
      clientIP: z.strictObject({ timeoutSeconds: z.int().min(1).max(86400).optional() }).optional(),
    })
    .optional(),
  externalTrafficPolicy: z.enum(["Cluster", "Local"]).optional(),
  internalTrafficPolicy: z.enum(["Cluster", "Local"]).optional(),
  publishNotReadyAddresses: z.boolean().optional(),
  externalName: z.string().optional(),
  ...opaque(
    "allocateLoadBalancerNodePorts",
    "clusterIPs",
    "healthCheckNodePort",
    "ipFamilies",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "trafficDistribution",
  ),
});

export const service = z.strictObject({
  ...typeMeta,
  metadata: metadata(serviceName),
  spec: serviceSpec,
  ...opaque("status"),
});

const endpointAddress = z.strictObject({
  ip,
  hostname: z.string().optional(),
  nodeName: z.string().optional(),
  ...opaque("targetRef"),
});

const endpointPort = z.strictObject({
  name: z.string().optional(),
  port,
  protocol: protocol.optional(),
  appProtocol: z.string().optional(),
});

export const endpoints = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  subsets: z
    .array(
      z.strictObject({
        addresses: z.array(endpointAddress).optional(),
        notReadyAddresses: z.array(endpointAddress).optional(),
        ports: z.array(endpointPort).optional(),
      }),
    )
    .optional(),
});

const sliceSchema = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  addressType: z.enum(["IPv4", "IPv6", "FQDN"]),
  endpoints: z.array(
    z.strictObject({
      addresses: z.array(z.string()).min(1),
      conditions: z
        .strictObject({
          ready: z.boolean().optional(),
          serving: z.boolean().optional(),
          terminating: z.boolean().optional(),
        })
        .optional(),
      hostname: z.string().optional(),
      nodeName: z.string().optional(),
      zone: z.string().optional(),
      ...opaque("targetRef", "hints", "deprecatedTopology"),
    }),
  ),
  ports: z.array(endpointPort).optional(),
});

/** Each address is of the slice's type (pkg/apis/discovery/validation). */
export const endpointSlice = sliceSchema.superRefine(({ addressType, endpoints: list }, context) => {
  if (addressType === "FQDN") return;
  const parse = addressType === "IPv4" ? parseAddress : parseAddress6;
  for (const [index, { addresses }] of list.entries())
    for (const [place, text] of addresses.entries())
      if (parse(text) === undefined) {
        const path = ["endpoints", index, "addresses", place];
        context.addIssue({ code: "custom", path, message: `is not an ${addressType} address` });
      }
});
