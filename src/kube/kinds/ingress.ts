/** Ingresses and IngressClasses (kubernetes pkg/apis/networking/v1/defaults.go, validation/validation.go). */
import { dns1035Label, dnsSubdomain, ipAddress, portName, portNumber } from "../names.js";
import type { Ingress, IngressBackend, IngressClass } from "../objects.js";
import { INGRESS, INGRESS_CLASS } from "../schemas/networking.js";
import { type FieldError, fieldError } from "../status.js";
import { oneOf } from "./container.js";
import type { KindRules } from "./kind.js";

const { required, invalid, tooLong, notSupported } = fieldError;
const PATH_TYPES = ["Exact", "ImplementationSpecific", "Prefix"];
const SCOPES = ["Cluster", "Namespace"];
const MAX_CONTROLLER_BYTES = 250;
/** How the class was told before there was a field for it. */
export const CLASS_ANNOTATION = "kubernetes.io/ingress.class";
/** What an exact path or a prefix cannot mean anything with. */
const BAD_SEQUENCES = ["//", "/./", "/../", "%2f", "%2F"];
const BAD_ENDS = ["/..", "/."];

type Spec = NonNullable<Ingress["spec"]>;
type Path = NonNullable<NonNullable<NonNullable<Spec["rules"]>[number]["http"]>["paths"]>[number];

export const INGRESS_RULES: KindRules<Ingress> = {
  schema: INGRESS,
  nameRule: dnsSubdomain,
  countsGenerations: true,
  initialStatus: { loadBalancer: {} },
  validate: ({ spec = {} }) => validateSpec(spec),
  validateCreate: ({ metadata, spec }) => {
    const annotation = metadata?.annotations?.[CLASS_ANNOTATION];
    if (!annotation || !spec?.ingressClassName || annotation === spec.ingressClassName) return [];
    const field = `annotations.${CLASS_ANNOTATION}`;
    return [invalid(field, annotation, "must match `ingressClassName` when both are specified")];
  },
};

function validateSpec(spec: Spec): FieldError[] {
  const { rules = [], tls = [], defaultBackend, ingressClassName } = spec;
  const nothing = "either `defaultBackend` or `rules` must be specified";
  return [
    ...(rules.length === 0 && !defaultBackend ? [invalid("spec", rules, nothing)] : []),
    ...(defaultBackend ? validateBackend(defaultBackend, "spec.defaultBackend") : []),
    ...rules.flatMap(({ host, http }, index) => [
      ...(host ? validateHost(host, `spec.rules[${index}].host`) : []),
      ...(http ? validatePaths(http.paths ?? [], `spec.rules[${index}].http.paths`) : []),
    ]),
    ...tls.flatMap(({ hosts = [] }, index) =>
      hosts.flatMap((host, place) => validateHost(host, `spec.tls[${index}].hosts[${place}]`, false)),
    ),
    ...named("spec.ingressClassName", ingressClassName),
  ];
}

function named(field: string, name: string | undefined): FieldError[] {
  return name === undefined ? [] : dnsSubdomain(name).map((why) => invalid(field, name, why));
}

function validateHost(host: string, field: string, refuseIp = true): FieldError[] {
  if (refuseIp && ipAddress(host).length === 0)
    return [invalid(field, host, "must be a DNS name, not an IP address")];
  const name = host.startsWith("*.") ? host.slice(2) : host;
  return dnsSubdomain(name).map((why) => invalid(field, host, why));
}

function validatePaths(paths: readonly Path[], at: string): FieldError[] {
  if (paths.length === 0) return [required(at)];
  return paths.flatMap((path, index) => [
    ...validatePath(path, `${at}[${index}]`),
    ...validateBackend(path.backend ?? {}, `${at}[${index}].backend`),
  ]);
}

function validatePath({ path = "", pathType }: Path, at: string): FieldError[] {
  if (!pathType) return [required(`${at}.pathType`, "pathType must be specified")];
  if (!PATH_TYPES.includes(pathType)) return [notSupported(`${at}.pathType`, pathType, PATH_TYPES)];
  const bad = (why: string) => invalid(`${at}.path`, path, why);
  const absolute = path.startsWith("/") ? [] : [bad("must be an absolute path")];
  if (pathType === "ImplementationSpecific") return path === "" ? [] : absolute;
  return [
    ...absolute,
    ...BAD_SEQUENCES.filter((one) => path.includes(one)).map((one) => bad(`must not contain '${one}'`)),
    ...BAD_ENDS.filter((one) => path.endsWith(one)).map((one) => bad(`cannot end with '${one}'`)),
  ];
}

function validateBackend({ service, resource }: IngressBackend, at: string): FieldError[] {
  if (service && resource) return [invalid(at, "", "cannot set both resource and service backends")];
  if (resource) {
    return [
      ...(resource.kind ? [] : [required(`${at}.resource.kind`)]),
      ...(resource.name ? [] : [required(`${at}.resource.name`)]),
    ];
  }
  if (!service) return [required(at, "resource or service backend is required")];
  const { name = "", port = {} } = service;
  const field = `${at}.service`;
  return [
    ...(name === ""
      ? [required(`${field}.name`)]
      : dns1035Label(name).map((why) => invalid(`${field}.name`, name, why))),
    ...validateBackendPort(port, `${field}.port`),
  ];
}

function validateBackendPort(port: { name?: string; number?: number }, at: string): FieldError[] {
  const { name, number } = port;
  if (name && number) return [invalid(at, "", "cannot set both port name & port number")];
  if (name) return portName(name).map((why) => invalid(`${at}.name`, name, why));
  if (number) return portNumber(number).map((why) => invalid(`${at}.number`, number, why));
  return [required(at, "port name or number is required")];
}

export const INGRESS_CLASS_RULES: KindRules<IngressClass> = {
  schema: INGRESS_CLASS,
  nameRule: dnsSubdomain,
  countsGenerations: true,
  setDefaults: ({ spec }) => {
    if (spec?.parameters) spec.parameters.scope ??= "Cluster";
  },
  validate: ({ spec = {} }) => [...validateController(spec.controller ?? ""), ...validateParameters(spec)],
  validateUpdate: ({ spec }, { spec: stored }) =>
    spec?.controller === stored?.controller
      ? []
      : [invalid("spec.controller", spec?.controller ?? "", "field is immutable")],
};

function validateController(controller: string): FieldError[] {
  const field = "spec.controller";
  if (controller === "") return [required(field)];
  const [domain = "", ...path] = controller.split("/");
  const prefixed = path.length > 0 && path.join("/") !== "" && dnsSubdomain(domain).length === 0;
  return [
    ...(Buffer.byteLength(controller) > MAX_CONTROLLER_BYTES ? [tooLong(field, MAX_CONTROLLER_BYTES)] : []),
    ...(prefixed
      ? []
      : [invalid(field, controller, 'must be a domain-prefixed path (such as "acme.io/foo")')]),
  ];
}

function validateParameters({ parameters }: NonNullable<IngressClass["spec"]>): FieldError[] {
  if (!parameters) return [];
  const { kind, name, scope, namespace } = parameters;
  const at = "spec.parameters";
  const local = scope === "Namespace";
  return [
    ...(kind ? [] : [required(`${at}.kind`, "kind is required")]),
    ...(name ? [] : [required(`${at}.name`, "name is required")]),
    ...oneOf(`${at}.scope`, scope, SCOPES),
    ...(local && !namespace ? [required(`${at}.namespace`, '`parameters.scope` is set to "Namespace"')] : []),
    ...(!local && namespace
      ? [fieldError.forbidden(`${at}.namespace`, '`parameters.scope` is set to "Cluster"')]
      : []),
  ];
}
