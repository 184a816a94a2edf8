/** Syntax of names, labels, ports and addresses with Kubernetes' messages (apimachinery pkg/util/validation). */
import { Address4, Address6 } from "ip-address";

const LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;
const QUALIFIED_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE = `(${QUALIFIED_NAME})?`;
const ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*";

/** Messages about a value; empty when it is right. */
export type Rule = (value: string) => string[];

function rule(maxLength: number, pattern: string, sentence: string, ...examples: string[]): Rule {
  const regExp = new RegExp(`^${pattern}$`);
  const eg = examples.map((example) => `'${example}'`).join(",  or ");
  const message = `${sentence} (e.g. ${eg}, regex used for validation is '${pattern}')`;
  return (value) => [
    ...(value.length > maxLength ? [`must be no more than ${maxLength} characters`] : []),
    ...(regExp.test(value) ? [] : [message]),
  ];
}

/** DNS-1123 label (RFC 1123 section 2.1): namespaces, port names, containers. */
export const dnsLabel = rule(
  63,
  LABEL,
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  "my-name",
  "123-abc",
);

/** DNS-1035 label (RFC 1035 section 2.3.1): Services. */
export const dns1035Label = rule(
  63,
  LABEL_1035,
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
  "my-name",
  "abc-123",
);

/** DNS-1123 subdomain: most other names. */
export const dnsSubdomain = rule(
  253,
  SUBDOMAIN,
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  "example.com",
);

const namePart = rule(
  63,
  QUALIFIED_NAME,
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  "MyName",
  "my.name",
  "123-abc",
);

/** Values of labels. */
export const labelValue = rule(
  63,
  LABEL_VALUE,
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  "MyValue",
  "my_value",
  "12345",
);

export const envName = rule(
  Number.POSITIVE_INFINITY,
  ENV_NAME,
  "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit",
  "my.env-name",
  "MY_ENV.NAME",
  "MyEnvName1",
);

/** Keys of labels and annotations: a name, with a DNS subdomain and a slash before it if need be. */
export function qualifiedName(value: string): string[] {
  const parts = value.split("/");
  if (parts.length > 2) {
    return [
      `a qualified name ${namePart("-")[0]} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  const name = parts.at(-1) ?? "";
  const prefix = parts.length === 2 ? parts[0] : undefined;
  const prefixMessages =
    prefix === "" ? ["prefix part must be non-empty"] : about("prefix part", dnsSubdomain(prefix ?? "a"));
  const nameMessages = name === "" ? ["name part must be non-empty"] : [];
  return [...prefixMessages, ...nameMessages, ...about("name part", namePart(name))];
}

function about(part: string, messages: readonly string[]): string[] {
  return messages.map((message) => `${part} ${message}`);
}

/** Port names (RFC 6335 section 5.1): at most 15 characters, one of them a letter. */
export function portName(value: string): string[] {
  return [
    ...(value.length > 15 ? ["must be no more than 15 characters"] : []),
    ...(/^[-a-z0-9]+$/.test(value)
      ? []
      : ["must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"]),
    ...(/[a-z]/.test(value) ? [] : ["must contain at least one letter (a-z)"]),
    ...(value.includes("--") ? ["must not contain consecutive hyphens"] : []),
    ...(/^-|-$/.test(value) ? ["must not begin or end with a hyphen"] : []),
  ];
}

export function portNumber(value: number): string[] {
  return value >= 1 && value <= 65535 ? [] : ["must be between 1 and 65535, inclusive"];
}

const NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/** An IP address in its one usual spelling: no prefix length, no zone, no leading zeros. */
export function ipAddress(value: string): string[] {
  return isIpv4(value) || isIpv6(value) ? [] : [NO_IP];
}

/** An IP address, in any spelling that {@link canonicalClusterIp} knows. */
export function clusterIpAddress(value: string): string[] {
  return canonicalClusterIp(value) === undefined ? [NO_IP] : [];
}

export function isIpv4(value: string): boolean {
  return Address4.isValid(value) && new Address4(value).correctForm() === value;
}

/**
 * A ClusterIP may have leading zeros, which count for nothing: 10.254.0.011 is 10.254.0.11, never the octal .9
 * (k8s.io/utils/net ParseIPSloppy; CVE-2021-29923). Undefined for what is no IP address.
 */
export function canonicalClusterIp(value: string): string | undefined {
  if (isIpv6(value)) return new Address6(value).correctForm();
  const plain = /^\d+(\.\d+){3}$/.test(value) ? value.split(".").map(Number).join(".") : value;
  return isIpv4(plain) ? plain : undefined;
}

export function isIpv6(value: string): boolean {
  return Address6.isValid(value) && !/[/%]/.test(value);
}

/** Addresses that no endpoint or external IP may have. */
export function nonSpecialIp(value: string): string[] {
  if (value === "0.0.0.0" || value === "::") return [`may not be unspecified (${value})`];
  if (value.startsWith("127.") || value === "::1")
    return ["may not be in the loopback range (127.0.0.0/8, ::1/128)"];
  if (value.startsWith("169.254.") || /^fe80:/i.test(value))
    return ["may not be in the link-local range (169.254.0.0/16, fe80::/10)"];
  const first = Number(value.split(".")[0]);
  const multicast = value.includes(":") ? /^ff/i.test(value) : first >= 224 && first < 240;
  return multicast ? ["may not be in the multicast range (224.0.0.0/4, ff00::/10)"] : [];
}

export function cidr(value: string): string[] {
  const valid = value.includes("/") && (Address4.isValid(value) || Address6.isValid(value));
  return valid ? [] : ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"];
}

// Without vowels and what looks like them, so that no words appear (apimachinery pkg/util/rand).
const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH = 5;

/** A name from `generateName`: five random characters after at most 58 of the base. `random` gives numbers in [0, 1). */
export function generateName(base: string, random: () => number = Math.random): string {
  let suffix = "";
  for (let index = 0; index < SUFFIX_LENGTH; index++)
    suffix += ALPHABET[Math.floor(random() * ALPHABET.length)];
  return `${base.slice(0, 63 - SUFFIX_LENGTH)}${suffix}`;
}
