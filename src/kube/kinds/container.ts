/** Defaults and validation of containers (kubernetes pkg/apis/core/v1/defaults.go, validation/validation.go). */
import { dnsLabel, envName, portName, portNumber } from "../names.js";
import type { Container, ContainerPort, EnvVar, Probe } from "../objects.js";
import { type FieldError, fieldError } from "../status.js";

const { required, invalid, duplicate, notSupported, forbidden } = fieldError;
export const PROTOCOLS = ["SCTP", "TCP", "UDP"];
const PULL_POLICIES = ["Always", "IfNotPresent", "Never"];
const PROBE_HANDLERS = ["exec", "grpc", "httpGet", "tcpSocket"] as const;

export function defaultContainer(container: Container): void {
  for (const port of container.ports ?? []) port.protocol ??= "TCP";
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom?.fieldRef) valueFrom.fieldRef.apiVersion ??= "v1";
  }
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) {
    if (probe) defaultProbe(probe);
  }
  container.resources ??= {};
  container.terminationMessagePath ??= "/dev/termination-log";
  container.terminationMessagePolicy ??= "File";
  container.imagePullPolicy ??= /(^[^:]*|:latest)$/.test(container.image?.split("/").at(-1) ?? "")
    ? "Always"
    : "IfNotPresent";
}

function defaultProbe(probe: Probe): void {
  if (probe.httpGet) {
    probe.httpGet.path ||= "/";
    probe.httpGet.scheme ||= "HTTP";
  }
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
}

/** @param seen names of the pod's containers so far */
export function validateContainer(container: Container, at: string, seen: Set<string>): FieldError[] {
  const { name, image } = container;
  const errors: FieldError[] = [];
  if (!name) errors.push(required(`${at}.name`));
  else {
    errors.push(...dnsLabel(name).map((why) => invalid(`${at}.name`, name, why)));
    if (seen.has(name)) errors.push(duplicate(`${at}.name`, name));
    seen.add(name);
  }
  if (!image) errors.push(required(`${at}.image`));
  else if (image.trim() !== image) {
    errors.push(invalid(`${at}.image`, image, "must not have leading or trailing whitespace"));
  }
  return [
    ...errors,
    ...validatePorts(container.ports ?? [], `${at}.ports`),
    ...validateEnv(container.env ?? [], `${at}.env`),
    ...oneOf(`${at}.imagePullPolicy`, container.imagePullPolicy, PULL_POLICIES),
    ...validateProbe(container.livenessProbe, `${at}.livenessProbe`, true),
    ...validateProbe(container.readinessProbe, `${at}.readinessProbe`, false),
    ...validateProbe(container.startupProbe, `${at}.startupProbe`, true),
  ];
}

/** A missing value is the default's business. */
export function oneOf(field: string, value: string | undefined, supported: readonly string[]): FieldError[] {
  return value === undefined || supported.includes(value) ? [] : [notSupported(field, value, supported)];
}

export function nonNegative(field: string, value: number | undefined): FieldError[] {
  return value === undefined || value >= 0
    ? []
    : [invalid(field, value, "must be greater than or equal to 0")];
}

function validatePorts(ports: readonly ContainerPort[], at: string): FieldError[] {
  const names = new Set<string>();
  return ports.flatMap(({ name, containerPort, hostPort, protocol }, index) => {
    const errors = name ? portName(name).map((why) => invalid(`${at}[${index}].name`, name, why)) : [];
    if (name && names.has(name)) errors.push(duplicate(`${at}[${index}].name`, name));
    if (name) names.add(name);
    if (!containerPort) errors.push(required(`${at}[${index}].containerPort`));
    else
      errors.push(
        ...portNumber(containerPort).map((why) =>
          invalid(`${at}[${index}].containerPort`, containerPort, why),
        ),
      );
    if (hostPort)
      errors.push(...portNumber(hostPort).map((why) => invalid(`${at}[${index}].hostPort`, hostPort, why)));
    return [...errors, ...oneOf(`${at}[${index}].protocol`, protocol, PROTOCOLS)];
  });
}

function validateEnv(env: readonly EnvVar[], at: string): FieldError[] {
  return env.flatMap(({ name, value, valueFrom }, index) => {
    if (!name) return [required(`${at}[${index}].name`)];
    const errors = envName(name).map((why) => invalid(`${at}[${index}].name`, name, why));
    if (valueFrom && value)
      errors.push(invalid(`${at}[${index}].valueFrom`, "", "may not be specified when `value` is not empty"));
    return errors;
  });
}

function validateProbe(probe: Probe | undefined, at: string, onlyOneSuccess: boolean): FieldError[] {
  if (probe === undefined) return [];
  const handlers = PROBE_HANDLERS.filter((handler) => probe[handler] !== undefined);
  const errors = handlers
    .slice(1)
    .map((handler) => forbidden(`${at}.${handler}`, "may not specify more than 1 handler type"));
  if (handlers.length === 0) errors.push(required(at, "must specify a handler type"));
  if (probe.exec && !probe.exec.command?.length) errors.push(required(`${at}.exec.command`));
  for (const handler of ["httpGet", "tcpSocket", "grpc"] as const) {
    const port = probe[handler]?.port;
    if (port !== undefined) errors.push(...validatePortRef(port, `${at}.${handler}.port`));
    else if (probe[handler]) errors.push(required(`${at}.${handler}.port`));
  }
  for (const field of [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "failureThreshold",
  ] as const) {
    errors.push(...nonNegative(`${at}.${field}`, probe[field]));
  }
  if (onlyOneSuccess && probe.successThreshold !== 1)
    errors.push(invalid(`${at}.successThreshold`, probe.successThreshold, "must be 1"));
  return errors;
}

/** A port by number or by name. */
export function validatePortRef(port: number | string, field: string): FieldError[] {
  const messages = typeof port === "number" ? portNumber(port) : portName(port);
  return messages.map((why) => invalid(field, port, why));
}
