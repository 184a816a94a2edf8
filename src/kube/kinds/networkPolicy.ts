/** NetworkPolicies: defaults and validation (kubernetes pkg/apis/networking/v1/defaults.go, validation/validation.go). */
import { Address4, Address6 } from "ip-address";
import { cidr, dnsSubdomain, portName, portNumber } from "../names.js";
import type { IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "../objects.js";
import { NETWORK_POLICY } from "../schemas/networking.js";
import { type FieldError, fieldError } from "../status.js";
import { oneOf, PROTOCOLS } from "./container.js";
import type { KindRules } from "./kind.js";
import { validateLabelSelector } from "./meta.js";

const { required, invalid, forbidden } = fieldError;
const POLICY_TYPES = ["Egress", "Ingress"];
type Spec = NonNullable<NetworkPolicy["spec"]>;

export const NETWORK_POLICY_RULES: KindRules<NetworkPolicy> = {
  schema: NETWORK_POLICY,
  nameRule: dnsSubdomain,
  countsGenerations: true,
  setDefaults,
  validate: ({ spec }) => (spec ? validateSpec(spec) : []),
};

/** A policy that does not say is about ingress, and about egress when it has rules for it. */
function setDefaults(policy: NetworkPolicy): void {
  // The selector is no pointer in Go: a missing one is an empty one, which chooses every pod.
  policy.spec ??= { podSelector: {} };
  const { spec } = policy;
  spec.podSelector ??= {};
  for (const { ports = [] } of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
    for (const port of ports) port.protocol ??= "TCP";
  }
  if (!spec.policyTypes?.length) spec.policyTypes = ["Ingress", ...(spec.egress?.length ? ["Egress"] : [])];
}

function validateSpec(spec: Spec): FieldError[] {
  const { podSelector, ingress = [], egress = [], policyTypes = [] } = spec;
  const tooManyTypes = policyTypes.length > POLICY_TYPES.length;
  return [
    ...validateLabelSelector(podSelector, "spec.podSelector"),
    ...ingress.flatMap(({ ports, from }, index) =>
      validateRule(`spec.ingress[${index}]`, ports, from, "from"),
    ),
    ...egress.flatMap(({ ports, to }, index) => validateRule(`spec.egress[${index}]`, ports, to, "to")),
    ...(tooManyTypes
      ? [invalid("spec.policyTypes", policyTypes, "may not specify more than two policyTypes")]
      : policyTypes.flatMap((type, index) => oneOf(`spec.policyTypes[${index}]`, type, POLICY_TYPES))),
  ];
}

function validateRule(
  at: string,
  ports: readonly NetworkPolicyPort[] = [],
  peers: readonly NetworkPolicyPeer[] = [],
  direction: "from" | "to",
): FieldError[] {
  return [
    ...ports.flatMap((port, index) => validatePort(port, `${at}.ports[${index}]`)),
    ...peers.flatMap((peer, index) => validatePeer(peer, `${at}.${direction}[${index}]`)),
  ];
}

function validatePort({ protocol, port, endPort }: NetworkPolicyPort, at: string): FieldError[] {
  return [...oneOf(`${at}.protocol`, protocol, PROTOCOLS), ...validateNumbers(port, endPort, at)];
}

function validateNumbers(
  port: string | number | undefined,
  endPort: number | undefined,
  at: string,
): FieldError[] {
  const end = (why: string) => (endPort === undefined ? [] : [invalid(`${at}.endPort`, endPort, why)]);
  if (port === undefined) return end("may not be specified when `port` is not specified");
  if (typeof port === "string") {
    const why = "may not be specified when `port` is non-numeric";
    return [...end(why), ...portName(port).map((one) => invalid(`${at}.port`, port, one))];
  }
  const errors = portNumber(port).map((why) => invalid(`${at}.port`, port, why));
  if (endPort === undefined) return errors;
  if (endPort < port) errors.push(invalid(`${at}.endPort`, port, "must be greater than or equal to `port`"));
  return [...errors, ...portNumber(endPort).map((why) => invalid(`${at}.endPort`, endPort, why))];
}

function validatePeer(peer: NetworkPolicyPeer, at: string): FieldError[] {
  const { podSelector, namespaceSelector, ipBlock } = peer;
  if (!podSelector && !namespaceSelector && !ipBlock) return [required(at, "must specify a peer")];
  const mixed = ipBlock && (podSelector || namespaceSelector);
  return [
    ...(podSelector ? validateLabelSelector(podSelector, `${at}.podSelector`) : []),
    ...(namespaceSelector ? validateLabelSelector(namespaceSelector, `${at}.namespaceSelector`) : []),
    ...(ipBlock ? validateIpBlock(ipBlock, `${at}.ipBlock`) : []),
    ...(mixed ? [forbidden(at, "may not specify both ipBlock and another peer")] : []),
  ];
}

function validateIpBlock({ cidr: block, except = [] }: IPBlock, at: string): FieldError[] {
  if (!block) return [required(`${at}.cidr`)];
  const errors = cidr(block).map((why) => invalid(`${at}.cidr`, block, why));
  if (errors.length > 0) return errors;
  return except.flatMap((one, index) => {
    const field = `${at}.except[${index}]`;
    const messages = cidr(one).map((why) => invalid(field, one, why));
    if (messages.length > 0) return messages;
    return isStrictSubset(one, block) ? [] : [invalid(field, one, "must be a strict subset of `cidr`")];
  });
}

/** Both are valid CIDRs. */
function isStrictSubset(inner: string, outer: string): boolean {
  const family = (text: string) => (text.includes(":") ? Address6 : Address4);
  if (family(inner) !== family(outer)) return false;
  const Address = family(inner);
  const [a, b] = [new Address(inner), new Address(outer)];
  return a.subnetMask > b.subnetMask && a.isInSubnet(b as never);
}
