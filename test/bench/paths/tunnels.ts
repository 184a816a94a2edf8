/** Other people's tunnels in user space, between the ends of a veth pair: OpenVPN, tinc, wireguard-go. */
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installed, type Lab, lastLine, type Running, run, Unusable } from "../lab.js";
import {
  INNER,
  type Pair,
  type Path,
  type PathSet,
  SERVER_PORTS,
  UNDERLAY,
  untilReachable,
  vethPair,
} from "./path.js";

interface End {
  readonly netns: string;
  readonly name: "client" | "server";
  readonly local: string;
  readonly remote: string;
  readonly inner: string;
  readonly peerInner: string;
}

function ends({ client, server }: Pair): [End, End] {
  return [
    {
      netns: client,
      name: "client",
      local: UNDERLAY.client,
      remote: UNDERLAY.server,
      inner: INNER.client,
      peerInner: INNER.server,
    },
    {
      netns: server,
      name: "server",
      local: UNDERLAY.server,
      remote: UNDERLAY.client,
      inner: INNER.server,
      peerInner: INNER.client,
    },
  ];
}

async function finish(lab: Lab, name: string, pair: Pair, running: readonly Running[]): Promise<Path[]> {
  await untilReachable(lab, pair.client, INNER.server, () =>
    lastLine(running.map((one) => one.output()).join("\n")),
  );
  const pids = running.map(({ pid }) => pid);
  return [
    {
      name,
      ...pair,
      address: INNER.server,
      ports: SERVER_PORTS,
      pingAddress: INNER.server,
      udp: true,
      pids,
      reference: "vxlan",
    },
  ];
}

/** Static point to point mode without keys: no cipher, no authentication. */
export const openvpn: PathSet = {
  names: ["openvpn"],
  async setUp(lab) {
    const program = installed("openvpn");
    const pair = await vethPair(lab, "openvpn");
    const running = ends(pair).map((end) => {
      const link = [
        "--dev",
        "tun0",
        "--local",
        end.local,
        "--remote",
        end.remote,
        "--port",
        "1194",
        "--proto",
        "udp4",
      ];
      const plain = ["--cipher", "none", "--auth", "none", "--data-ciphers", "none"];
      return lab.start(end.netns, [
        program,
        ...link,
        "--ifconfig",
        end.inner,
        end.peerInner,
        ...plain,
        "--verb",
        "1",
      ]);
    });
    return finish(lab, "openvpn", pair, running);
  },
};

/** Without cipher, digest and compression. The keys are for its control connection only. */
export const tinc: PathSet = {
  names: ["tinc"],
  async setUp(lab) {
    const program = installed("tincd");
    const pair = await vethPair(lab, "tinc");
    const dir = mkdtempSync(join(tmpdir(), "pwb-tinc-"));
    try {
      return await finish(lab, "tinc", pair, await startTinc(lab, program, dir, ends(pair)));
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

async function startTinc(lab: Lab, program: string, dir: string, both: readonly End[]): Promise<Running[]> {
  const keys = both.map(() =>
    generateKeyPairSync("rsa", {
      modulusLength: 2048,
      publicKeyEncoding: { type: "pkcs1", format: "pem" },
      privateKeyEncoding: { type: "pkcs1", format: "pem" },
    }),
  );
  const started: Running[] = [];
  for (const [i, end] of both.entries()) {
    const folder = join(dir, end.name);
    mkdirSync(join(folder, "hosts"), { recursive: true });
    const peers = both.filter((other) => other !== end).map((other) => `ConnectTo = ${other.name}\n`);
    writeFileSync(
      join(folder, "tinc.conf"),
      `Name = ${end.name}\nInterface = tun0\nAddressFamily = ipv4\n${peers.join("")}`,
    );
    writeFileSync(join(folder, "rsa_key.priv"), keys[i]!.privateKey, { mode: 0o600 });
    for (const [j, host] of both.entries()) {
      const about = `Address = ${host.local}\nSubnet = ${host.inner}/32\nCipher = none\nDigest = none\nCompression = 0\n`;
      writeFileSync(join(folder, "hosts", host.name), `${about}${keys[j]!.publicKey}`);
    }
    const words = [program, "-c", folder, "-D", `--pidfile=${join(folder, "pid")}`];
    started.push(await lab.startReady(end.netns, words, "Ready"));
    await lab.ip(end.netns, [`addr add ${end.inner}/24 dev tun0`, "link set tun0 up"]);
  }
  return started;
}

const WG_PORT = 51820;
const WG_SOCKETS = "/var/run/wireguard";

/** Configured over its own socket, so that `wg` is not needed. */
export const wireguardGo: PathSet = {
  names: ["wireguard-go"],
  async setUp(lab) {
    const program = installed("wireguard-go");
    const pair = await vethPair(lab, "wg");
    const keys = [wireguardKeys(), wireguardKeys()];
    const running: Running[] = [];
    for (const [i, end] of ends(pair).entries()) {
      const device = `pwb${end.name[0]}${process.pid}`;
      running.push(
        lab.start(end.netns, [program, "-f", device], { env: { ...process.env, LOG_LEVEL: "error" } }),
      );
      await configureWireguard(device, keys[i]!.secret, keys[1 - i]!.open, end);
      await lab.ip(end.netns, [`addr add ${end.inner}/24 dev ${device}`, `link set ${device} mtu 1420 up`]);
    }
    return finish(lab, "wireguard-go", pair, running);
  },
};

function wireguardKeys(): { readonly secret: string; readonly open: string } {
  const { privateKey } = generateKeyPairSync("x25519");
  const { d = "", x = "" } = privateKey.export({ format: "jwk" });
  return {
    secret: Buffer.from(d, "base64url").toString("hex"),
    open: Buffer.from(x, "base64url").toString("hex"),
  };
}

/** WireGuard's cross-platform configuration protocol. */
async function configureWireguard(device: string, secret: string, peer: string, end: End): Promise<void> {
  const path = join(WG_SOCKETS, `${device}.sock`);
  await run("sh", [
    "-c",
    'for i in 1 2 3 4 5 6 7 8 9 10; do [ -S "$0" ] && exit 0; sleep 0.2; done; exit 1',
    path,
  ]).catch(() => {
    throw new Unusable(`wireguard-go did not make ${path}`);
  });
  const settings = [
    "set=1",
    `private_key=${secret}`,
    `listen_port=${WG_PORT}`,
    `public_key=${peer}`,
    `endpoint=${end.remote}:${WG_PORT}`,
    `allowed_ip=${end.peerInner}/32`,
  ];
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connect(path, () => socket.write(`${settings.join("\n")}\n\n`));
    socket.once("data", (bytes) => {
      socket.destroy();
      resolve(bytes.toString());
    });
    socket.once("error", reject);
  });
  if (!answer.includes("errno=0"))
    throw new Unusable(`wireguard-go refused its configuration: ${answer.trim()}`);
}
