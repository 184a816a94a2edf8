/** The lab's certificates, read by Node.js and by openssl. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer, type Server } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { makeCertificates } from "../../src/cluster/pki/certificates.js";
import { encode, oid, time, unsigned } from "../../src/cluster/pki/der.js";

const NAMES = { dns: ["kubernetes.default.svc", "kubernetes"], ips: ["10.254.0.1"] };
const dir = mkdtempSync(join(tmpdir(), "podwire-pki-"));
let server: Server | undefined;
afterEach(() => void server?.close());
const file = (name: string, text: string) => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const openssl = (...args: string[]) => execFileSync("openssl", args, { encoding: "utf8", stdio: "pipe" });

describe("DER", () => {
  it("has lengths, numbers and identifiers as X.690 has them", () => {
    expect(encode(4, Buffer.alloc(0x7f)).subarray(0, 2)).toEqual(Buffer.of(4, 0x7f));
    expect(encode(4, Buffer.alloc(0x80)).subarray(0, 3)).toEqual(Buffer.of(4, 0x81, 0x80));
    expect(encode(4, Buffer.alloc(0x1234)).subarray(0, 4)).toEqual(Buffer.of(4, 0x82, 0x12, 0x34));
    expect(unsigned(Buffer.of(0, 0, 0x80))).toEqual(Buffer.of(2, 2, 0, 0x80));
    expect(unsigned(Buffer.of(0))).toEqual(Buffer.of(2, 1, 0));
    expect(oid("1.2.840.10045.4.3.2").toString("hex")).toBe("06082a8648ce3d040302");
    expect(time(new Date("2049-12-31T23:59:59Z")).toString("latin1")).toBe("\x17\x0d491231235959Z");
    expect(time(new Date("2050-01-01T00:00:00Z")).toString("latin1")).toBe("\x18\x0f20500101000000Z");
  });
});

describe("the certificates of a lab", () => {
  const now = Date.now();
  const { ca, server: issued } = makeCertificates("shop", NAMES, now);

  it("are a CA and a server that it signed", () => {
    const [authority, leaf] = [new X509Certificate(ca), new X509Certificate(issued.certificate)];
    expect(authority.ca).toBe(true);
    expect(authority.verify(authority.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.verify(authority.publicKey)).toBe(true);
    expect(leaf.checkIssued(authority)).toBe(true);
    expect(leaf.subjectAltName).toBe("DNS:kubernetes.default.svc, DNS:kubernetes, IP Address:10.254.0.1");
    expect(Date.parse(leaf.validFrom)).toBeLessThan(now);
    expect(Date.parse(leaf.validTo)).toBeGreaterThan(now);
  });

  it("pass openssl's strict checks, under the names they are for and no other", () => {
    const [caFile, leafFile] = [file("ca.crt", ca), file("server.crt", issued.certificate)];
    const verify = (...more: string[]) =>
      openssl("verify", "-x509_strict", "-purpose", "sslserver", ...more, "-CAfile", caFile, leafFile);
    expect(verify("-verify_hostname", "kubernetes.default.svc")).toContain("OK");
    expect(verify("-verify_ip", "10.254.0.1")).toContain("OK");
    expect(() => verify("-verify_hostname", "example.com")).toThrow("mismatch");
    const other = file("other.crt", makeCertificates("shop", NAMES, now).ca);
    expect(() => openssl("verify", "-CAfile", other, leafFile)).toThrow();
  });

  it("serve TLS", async () => {
    server = createServer({ key: issued.key, cert: issued.certificate }, (socket) => socket.end("hello"));
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const words = await new Promise<string>((resolve, reject) => {
      const socket = connectTls({ port, host: "127.0.0.1", ca, servername: "kubernetes.default.svc" });
      socket.once("data", (data) => resolve(String(data))).once("error", reject);
    });
    expect(words).toBe("hello");
    rmSync(dir, { recursive: true });
  });
});
