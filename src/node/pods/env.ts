/** Environment of a container: Docker-style Service variables, the pod's own entries, the downward API's field refs. */
import type { Container, EnvVar, Pod, Service } from "../../kube/index.js";
import { serviceAccountName } from "./serviceAccount.js";

/**
 * Variables of the Services of one namespace, as `docker run --link` would set them
 * (kubernetes pkg/kubelet/envvars/envvars.go). Headless and ExternalName Services have none.
 */
export function serviceEnv(services: readonly Service[]): Record<string, string> {
  const env: Record<string, string> = {};
  for (const service of services) {
    const ip = service.spec?.clusterIP;
    const ports = service.spec?.ports ?? [];
    const [first] = ports;
    if (!ip || ip === "None" || !first) continue;
    const prefix = envName(service.metadata?.name ?? "");
    env[`${prefix}_SERVICE_HOST`] = ip;
    env[`${prefix}_SERVICE_PORT`] = String(first.port);
    env[`${prefix}_PORT`] = `${(first.protocol ?? "TCP").toLowerCase()}://${ip}:${first.port}`;
    for (const port of ports) {
      if (port.name) env[`${prefix}_SERVICE_PORT_${envName(port.name)}`] = String(port.port);
      const protocol = port.protocol ?? "TCP";
      const link = `${prefix}_PORT_${port.port}_${protocol}`;
      env[link] = `${protocol.toLowerCase()}://${ip}:${port.port}`;
      env[`${link}_PROTO`] = protocol.toLowerCase();
      env[`${link}_PORT`] = String(port.port);
      env[`${link}_ADDR`] = ip;
    }
  }
  return env;
}

/** The Service of the API, which pods of all namespaces are told of, whatever links they want. */
export function isApiService({ metadata }: Service): boolean {
  return metadata?.namespace === "default" && metadata.name === "kubernetes";
}

function envName(name: string): string {
  return name.toUpperCase().replaceAll("-", "_");
}

/** What field refs may name. */
export interface DownwardValues {
  readonly podIp: string;
  readonly hostIp: string;
  /** The second addresses, of a node with IPv6. */
  readonly podIp6?: string | undefined;
  readonly hostIp6?: string | undefined;
}

/** Longest host name that Kubernetes gives a pod (kubelet_pods.go, truncatePodHostnameIfNeeded). */
const HOSTNAME_MAX = 63;

/** Host name of a pod: its node's in that one's network, else its own choice or its name, cut to what a host name may be. */
export function podHostname(pod: Pod): string {
  const { hostNetwork, nodeName, hostname } = pod.spec ?? {};
  const name = (hostNetwork ? nodeName : hostname) ?? pod.metadata?.name ?? "";
  return name.slice(0, HOSTNAME_MAX).replace(/[-.]+$/, "");
}

/** Longest host name that the kernel takes (sethostname(2)). */
const KERNEL_HOSTNAME_MAX = 64;

/** Fully qualified name of a pod, when it has a subdomain. */
export function podFqdn(pod: Pod, zone: string): string | undefined {
  const { subdomain, hostNetwork } = pod.spec ?? {};
  if (!subdomain || hostNetwork) return undefined;
  return `${podHostname(pod)}.${subdomain}.${pod.metadata?.namespace}.svc.${zone}`;
}

/**
 * Host name of a pod as its programs see it: the fully qualified one where the pod asks for it.
 *
 * @throws Error that one is longer than a host name may be (kubelet util.go, GetNodenameForKernel)
 */
export function kernelHostname(pod: Pod, zone: string): string {
  const fqdn = pod.spec?.setHostnameAsFQDN ? podFqdn(pod, zone) : undefined;
  if (fqdn === undefined) return podHostname(pod);
  if (fqdn.length > KERNEL_HOSTNAME_MAX)
    throw new Error(
      `setHostnameAsFQDN: the name ${fqdn} is too long (${KERNEL_HOSTNAME_MAX} characters is the max, ${fqdn.length} characters requested)`,
    );
  return fqdn;
}

/**
 * What Kubernetes gives a container: its own entries over the Services' (a pod may override them), `$(NAME)` expanded
 * from what stands before.
 *
 * @throws Error an entry comes from something that is not supported
 */
export function containerEnv(
  pod: Pod,
  container: Container,
  services: readonly Service[],
  values: DownwardValues,
): Record<string, string> {
  const linked = pod.spec?.enableServiceLinks === false ? [] : services.filter((one) => !isApiService(one));
  const env = serviceEnv([...services.filter(isApiService), ...linked]);
  const from = container.envFrom?.find(
    ({ configMapRef, secretRef }) => !(configMapRef ?? secretRef)?.optional,
  );
  if (from) throw new Error("envFrom: ConfigMaps and Secrets are not supported; give the values in env");
  for (const entry of container.env ?? []) env[entry.name] = envValue(pod, entry, env, values);
  return env;
}

function envValue(pod: Pod, entry: EnvVar, env: Record<string, string>, values: DownwardValues): string {
  const from = entry.valueFrom;
  if (!from) return expand(entry.value ?? "", env);
  if (from.fieldRef) return fieldValue(pod, from.fieldRef.fieldPath, values);
  throw new Error(`env ${entry.name}: valueFrom is supported for fieldRef only; give the value itself`);
}

/**
 * `$(NAME)` is replaced when NAME is known, left as it is otherwise; `$$` stands for `$`
 * (kubernetes third_party/forked/golang/expansion).
 */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (whole, name: string | undefined) => {
    if (name === undefined) return "$";
    return Object.hasOwn(env, name) ? (env[name] ?? "") : whole;
  });
}

function fieldValue(pod: Pod, path: string, values: DownwardValues): string {
  const quoted = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (quoted) return pod.metadata?.[quoted[1] as "labels" | "annotations"]?.[quoted[2] ?? ""] ?? "";
  switch (path) {
    case "metadata.name":
      return pod.metadata?.name ?? "";
    case "metadata.namespace":
      return pod.metadata?.namespace ?? "";
    case "metadata.uid":
      return pod.metadata?.uid ?? "";
    case "spec.nodeName":
      return pod.spec?.nodeName ?? "";
    case "spec.serviceAccountName":
      return serviceAccountName(pod);
    case "status.podIP":
      return values.podIp;
    case "status.podIPs":
      return list(values.podIp, values.podIp6);
    case "status.hostIP":
      return values.hostIp;
    case "status.hostIPs":
      return list(values.hostIp, values.hostIp6);
    default:
      throw new Error(
        `unsupported fieldPath ${path}: use metadata.name, metadata.namespace, status.podIP or spec.nodeName`,
      );
  }
}

/** As kubelet joins several addresses (kubelet_pods.go, podFieldSelectorRuntimeValue). */
function list(...addresses: (string | undefined)[]): string {
  return addresses.filter((address) => address !== undefined).join(",");
}
