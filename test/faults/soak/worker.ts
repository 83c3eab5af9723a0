import { setTimeout as wait } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { type Request, type Response, request, sessionOf } from '../../helpers/client.js';
import { type PausedDownload, startPaused } from '../../helpers/paused.js';
import type { RunningServer } from '../../helpers/servers.js';
import type { Command } from '../command.js';
import { artifact, bodyOf, type SoakArtifact } from './artifacts.js';

/** Observations of all workers of one server. */
export class Ledger {
  /** Numbers of artifacts that the server has acknowledged. */
  readonly stored: number[] = [];
  next = 0;
  hits = 0;
  /** Numbers of uploads without an acknowledgement: the artifact is stored completely, or not at all. */
  readonly unacknowledged: number[] = [];
  /** Acknowledged artifacts that are missing, because they were evicted. */
  evicted = 0;
  uploads = 0;
  disconnects = 0;
  readonly failures: string[] = [];
}

/** Mean pause between two requests of a worker. It leaves processor time for other tests. */
const PAUSE_MS = 100;

/** Runs random steps, one after the other, until `isFinished` returns true. `version` is the HTTP version. */
export async function work(
  t: ExecutionContext,
  command: Command,
  ledger: Ledger,
  version: 1 | 2,
  random: () => number,
  isFinished: () => boolean,
): Promise<void> {
  while (!isFinished()) {
    const server = command.clients.find((each) => each.version === version);
    if (server !== undefined) {
      const since = performance.now();
      try {
        await choose(random)(t, server, ledger, random);
      } catch (error) {
        // Ignored if processes were stopped in the meantime. A wrong response is no exception, and is never ignored.
        if (!command.isDisturbedSince(since)) ledger.failures.push(`${server.kind}: ${error}`);
      }
    }
    await wait(2 * random() * PAUSE_MS);
  }
}

/** Sends a request. Rejects if the server is unavailable. */
async function send(server: RunningServer, options: Request): Promise<Response> {
  const response = await request(server, options);
  assertAvailable(response.status, options.path);
  return response;
}

async function pause(t: ExecutionContext, server: RunningServer, path: string): Promise<PausedDownload> {
  const download = await startPaused(t, server, path);
  assertAvailable(download.status, path);
  return download;
}

function assertAvailable(status: number, path: string | undefined): void {
  if (status === 503) throw new Error(`503 for ${path}`);
}

type Step = (t: ExecutionContext, server: RunningServer, ledger: Ledger, random: () => number) => Promise<void>;

const STEPS: readonly (readonly [number, Step])[] = [
  [0.12, upload],
  [0.6, download],
  [0.08, range],
  [0.06, revalidate],
  [0.06, miss],
  [0.04, disconnectDownload],
  [0.02, disconnectUpload],
  [0.02, readSlowly],
];

function choose(random: () => number): Step {
  let left = random();
  for (const [share, step] of STEPS) {
    left -= share;
    if (left < 0) return step;
  }
  return download;
}

async function upload(_t: ExecutionContext, server: RunningServer, ledger: Ledger): Promise<void> {
  const target = artifact(ledger.next++);
  const headers = { 'content-type': 'application/octet-stream' };
  const body = bodyOf(target.n);
  const uploading = send(server, { method: target.uploadMethod, path: target.path, headers, body });
  const { status } = await uploading.catch((error: unknown) => {
    ledger.unacknowledged.push(target.n);
    throw error;
  });
  if (status < 200 || status > 299) ledger.failures.push(`${server.kind}: ${status} for the upload of ${target.path}`);
  ledger.stored.push(target.n);
  ledger.uploads++;
}

/** Returns a random stored artifact. Newer ones are more likely. */
function randomStored(ledger: Ledger, random: () => number): SoakArtifact | undefined {
  const { stored } = ledger;
  const n = stored[Math.floor(stored.length * Math.sqrt(random()))];
  return n === undefined ? undefined : artifact(n);
}

async function download(
  _t: ExecutionContext,
  server: RunningServer,
  ledger: Ledger,
  random: () => number,
): Promise<void> {
  const target = randomStored(ledger, random);
  if (target !== undefined) check(server, ledger, target, await send(server, { path: target.path }));
}

/** Compares every byte of a response. An artifact that is missing counts as evicted. */
export function check(
  server: RunningServer,
  ledger: Ledger,
  target: SoakArtifact,
  { status, body }: { readonly status: number; readonly body: Buffer },
): void {
  if (status === 404) {
    ledger.evicted++;
    const index = ledger.stored.indexOf(target.n);
    if (index !== -1) ledger.stored.splice(index, 1);
    return;
  }
  ledger.hits++;
  if (status !== 200) ledger.failures.push(`${server.kind}: ${status} for ${target.path}`);
  else if (!body.equals(bodyOf(target.n))) ledger.failures.push(`${server.kind}: wrong content for ${target.path}`);
}

async function range(_t: ExecutionContext, server: RunningServer, ledger: Ledger, random: () => number): Promise<void> {
  const target = randomStored(ledger, random);
  if (target === undefined || target.size < 2) return;
  const start = Math.floor(random() * (target.size - 1));
  const end = start + 1 + Math.floor(random() * (target.size - start - 1));
  const headers = { range: `bytes=${start}-${end - 1}` };
  const { status, body } = await send(server, { path: target.path, headers });
  if (status === 404) return;
  ledger.hits++;
  if (status !== 206 || !body.equals(bodyOf(target.n).subarray(start, end))) {
    ledger.failures.push(
      `${server.kind}: ${status} with ${body.byteLength} bytes for ${headers.range} of ${target.path}`,
    );
  }
}

async function revalidate(
  _t: ExecutionContext,
  server: RunningServer,
  ledger: Ledger,
  random: () => number,
): Promise<void> {
  const target = randomStored(ledger, random);
  if (target === undefined) return;
  const { status, headers } = await send(server, { method: 'HEAD', path: target.path });
  if (status === 404) return;
  const again = await send(server, { path: target.path, headers: { 'if-none-match': headers.etag } });
  if (status !== 200 || ![304, 404].includes(again.status)) {
    ledger.failures.push(`${server.kind}: ${status}, then ${again.status} for a revalidation of ${target.path}`);
  }
}

async function miss(_t: ExecutionContext, server: RunningServer, ledger: Ledger, random: () => number): Promise<void> {
  const { status } = await send(server, { path: artifact(10_000_000 + Math.floor(random() * 1e6)).path });
  if (status !== 404) ledger.failures.push(`${server.kind}: ${status} for a miss`);
}

/** Disconnects during a download, with a reset. */
async function disconnectDownload(
  t: ExecutionContext,
  server: RunningServer,
  ledger: Ledger,
  random: () => number,
): Promise<void> {
  const target = randomStored(ledger, random);
  if (target === undefined) return;
  const download = await pause(t, server, target.path);
  if (target.size > 0 && download.status === 200) await download.leaveAfter(Math.ceil(target.size * random()));
  else download.leave();
  ledger.disconnects++;
}

/** Disconnects during an upload. No artifact may be stored. */
async function disconnectUpload(
  _t: ExecutionContext,
  server: RunningServer,
  ledger: Ledger,
  random: () => number,
): Promise<void> {
  const target = artifact(20_000_000 + Math.floor(random() * 1e6));
  const disconnect = new AbortController();
  const headers = { 'content-length': target.size + 1 };
  async function* body(): AsyncIterable<Uint8Array> {
    yield bodyOf(target.n);
    await wait(20 * random());
    disconnect.abort();
  }
  // On a separate connection: unsent data of an aborted request stays in the memory of a client session of node:http2.
  const separate = { ...server };
  await request(separate, {
    method: target.uploadMethod,
    path: target.path,
    headers,
    body: body(),
    signal: disconnect.signal,
  }).catch(() => {});
  if (separate.version === 2) sessionOf(separate).destroy();
  const { status } = await send(server, { path: target.path });
  if (status !== 404) ledger.failures.push(`${server.kind}: ${status} for an aborted upload`);
  ledger.disconnects++;
}

/** Pauses during a download. */
async function readSlowly(
  t: ExecutionContext,
  server: RunningServer,
  ledger: Ledger,
  random: () => number,
): Promise<void> {
  const target = randomStored(ledger, random);
  if (target === undefined) return;
  const { status, finish, leave: close } = await pause(t, server, target.path);
  await wait(2000 * random());
  check(server, ledger, target, { status, body: await finish() });
  close();
}
