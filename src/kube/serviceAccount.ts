/**
 * Tokens of service accounts: JSON Web Tokens (RFC 7519) as Kubernetes' are, signed with the lab's own key (HS256). They are
 * good for as long as that key is, which is the lab's life.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
}

const ISSUER = "https://kubernetes.default.svc.cluster.local";
const HEADER = encode({ alg: "HS256", typ: "JWT" });
const SUBJECT = /^system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)$/;

/** User name of a service account. */
export function userName({ namespace, name }: ServiceAccount): string {
  return `system:serviceaccount:${namespace}:${name}`;
}

/** @param issuedAtMs milliseconds since the epoch */
export function signToken(account: ServiceAccount, key: string, issuedAtMs: number): string {
  const { namespace, name } = account;
  const claims = encode({
    iss: ISSUER,
    aud: [ISSUER],
    sub: userName(account),
    iat: Math.floor(issuedAtMs / 1000),
    "kubernetes.io": { namespace, serviceaccount: { name } },
  });
  return `${HEADER}.${claims}.${signature(`${HEADER}.${claims}`, key)}`;
}

/** Whose token it is; undefined for one that this key did not sign. */
export function readToken(token: string, key: string): ServiceAccount | undefined {
  const [header, claims = "", given = "", more] = token.split(".");
  // Only the one algorithm: what the header says is the sender's word.
  if (header !== HEADER || more !== undefined) return undefined;
  const [wanted, sent] = [signature(`${header}.${claims}`, key), given].map((text) => Buffer.from(text));
  if (wanted!.length !== sent!.length || !timingSafeEqual(wanted!, sent!)) return undefined;
  const { sub = "" } = JSON.parse(Buffer.from(claims, "base64url").toString()) as { sub?: string };
  const [, namespace, name] = SUBJECT.exec(sub) ?? [];
  return namespace && name ? { namespace, name } : undefined;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function signature(text: string, key: string): string {
  return createHmac("sha256", key).update(text).digest("base64url");
}
