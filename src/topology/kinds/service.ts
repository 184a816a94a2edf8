/** core/v1 Service and Endpoints, discovery.k8s.io/v1 EndpointSlice. */
import { z } from "zod";
import { parseAddress } from "../address.js";
import { dnsLabel, ipv4 } from "../schema.js";
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
      (text) => text === "" || text === "None" || parseAddress(text) !== undefined,
      'is not an IPv4 address and not "None"',
    )
    .optional(),
  externalIPs: z.array(ipv4).optional(),
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
  ip: ipv4,
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

export const endpointSlice = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  addressType: z.enum(["IPv4"]),
  endpoints: z.array(
    z.strictObject({
      addresses: z.array(ipv4).min(1),
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
