/** A certificate authority of one lab and the API server's certificate (RFC 5280); Node.js itself can only read them. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";
import { bits, boolean, octets, oid, sequence, set, tagged, time, unsigned, utf8 } from "./der.js";

/** Both in PEM. */
export interface Issued {
  readonly key: string;
  readonly certificate: string;
}

export interface ServerNames {
  readonly dns: readonly string[];
  /** IPv4. */
  readonly ips: readonly string[];
}

/** The CA's certificate alone, and a server's whose key nobody else has. */
export interface LabCertificates {
  readonly ca: string;
  readonly server: Issued;
}

const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const COMMON_NAME = "2.5.4.3";
const Extension = {
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  altNames: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
} as const;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
/** Bits of KeyUsage, the first one leftmost: keyCertSign and cRLSign; digitalSignature. */
const CA_USAGE = bits(Buffer.of(0b00000110), 1);
const SERVER_USAGE = bits(Buffer.of(0b10000000), 7);
const DNS_NAME = 2;
const IP_ADDRESS = 7;

const DAY_MS = 86_400_000;
/** A lab lives for hours; its clock may be a little behind its clients'. */
const VALID_MS = 3650 * DAY_MS;

/** Makes a CA, a server certificate of it, and forgets the CA's key, so that it can never sign another one. */
export function makeCertificates(lab: string, names: ServerNames, nowMs: number): LabCertificates {
  const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const server = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issuer = name(`podwire ${lab}`);
  const authorityId = keyId(authority.publicKey);
  const issue = (subject: Buffer, publicKey: KeyObject, extensions: Buffer[]) =>
    certificate({ issuer, subject, publicKey, extensions, signer: authority.privateKey, nowMs });
  const ca = issue(issuer, authority.publicKey, [
    extension(Extension.basicConstraints, sequence(boolean(true)), true),
    extension(Extension.keyUsage, CA_USAGE, true),
    extension(Extension.subjectKeyId, octets(authorityId)),
  ]);
  const leaf = issue(name("kube-apiserver"), server.publicKey, [
    extension(Extension.basicConstraints, sequence(), true),
    extension(Extension.keyUsage, SERVER_USAGE, true),
    extension(Extension.extendedKeyUsage, sequence(oid(SERVER_AUTH))),
    extension(Extension.authorityKeyId, sequence(tagged(0, authorityId, false))),
    extension(Extension.altNames, altNames(names)),
  ]);
  const key = server.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return { ca, server: { key, certificate: leaf } };
}

interface Draft {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
  readonly signer: KeyObject;
  readonly nowMs: number;
}

function certificate({ issuer, subject, publicKey, extensions, signer, nowMs }: Draft): string {
  const serial = randomBytes(16);
  // Positive, and of a fixed length.
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  const body = sequence(
    tagged(0, unsigned(Buffer.of(2))),
    unsigned(serial),
    ECDSA_WITH_SHA256,
    issuer,
    sequence(time(new Date(nowMs - DAY_MS)), time(new Date(nowMs + VALID_MS))),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    tagged(3, sequence(...extensions)),
  );
  const whole = sequence(body, ECDSA_WITH_SHA256, bits(sign("sha256", body, signer)));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}

function name(commonName: string): Buffer {
  return sequence(set(sequence(oid(COMMON_NAME), utf8(commonName))));
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function altNames({ dns, ips }: ServerNames): Buffer {
  const address = (ip: string) => {
    if (!isIPv4(ip)) throw new Error(`${ip} is not an IPv4 address`);
    return tagged(IP_ADDRESS, Buffer.from(ip.split(".").map(Number)), false);
  };
  return sequence(...dns.map((one) => tagged(DNS_NAME, Buffer.from(one), false)), ...ips.map(address));
}

/** SHA-1 of the key's bits (RFC 5280, 4.2.1.2), which are all but the first 26 bytes of a P-256 key's DER. */
function keyId(key: KeyObject): Buffer {
  const der = key.export({ type: "spki", format: "der" });
  return createHash("sha1").update(der.subarray(26)).digest();
}
