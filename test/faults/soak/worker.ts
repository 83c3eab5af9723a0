import { setTimeout as wait } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { request, sessionOf } from '../../helpers/client.js';
import { startPaused } from '../../helpers/paused.js';
import type { RunningServer } from '../../helpers/servers.js';
import type { Command } from '../command.js';
import { artifact, bodyOf, type SoakArtifact } from './artifacts.js';

/** What all workers together have seen of one server. */
export class Ledger {
  /** Numbers of artifacts that the server has acknowledged. */
  readonly stored: number[] = [];
  next = 0;
  hits = 0;
  /** Artifacts that have been stored and are not there any more: evicted. */
  evicted = 0;
  uploads = 0;
  left = 0;
  /** What must not be. */
  readonly wrong: string[] = [];
}

/** Between two requests of a worker, twice as long at most: other tests want the machine too. */
const PAUSE_MS = 100;

/** Does one thing after the other at a server, until `isOver`. `version` chooses how it speaks. */
export async function work(
  t: ExecutionContext,
  command: Command,
  ledger: Ledger,
  version: 1 | 2,
  random: () => number,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    const server = command.clients.find((each) => each.version === version);
    if (server !== undefined) {
      try {
        await choose(random)(t, server, ledger, random);
      } catch (error) {
        // It was ended in the midst of it.
        if (command.clients.includes(server)) ledger.wrong.push(`${server.kind}: ${error}`);
      }
    }
    await wait(2 * random() * PAUSE_MS);
  }
}

type Step = (t: ExecutionContext, server: RunningServer, ledger: Ledger, random: () => number) => Promise<void>;

const STEPS: readonly (readonly [number, Step])[] = [
  [0.12, upload],
  [0.6, download],
  [0.08, range],
  [0.06, revalidate],
  [0.06, miss],
  [0.04, leave],
  [0.02, uploadAndLeave],
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
  const what = artifact(ledger.next++);
  const headers = { 'content-type': 'application/octet-stream' };
  const { status } = await request(server, {
    method: what.uploadMethod,
    path: what.path,
    headers,
    body: bodyOf(what.n),
  });
  if (status < 200 || status > 299) ledger.wrong.push(`${server.kind}: ${status} for the upload of ${what.path}`);
  ledger.stored.push(what.n);
  ledger.uploads++;
}

/** One that is there, the newer the likelier. */
function known(ledger: Ledger, random: () => number): SoakArtifact | undefined {
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
  const what = known(ledger, random);
  if (what !== undefined) check(server, ledger, what, await request(server, { path: what.path }));
}

/** Compares every byte of an answer; an artifact that has gone is forgotten. */
export function check(
  server: RunningServer,
  ledger: Ledger,
  what: SoakArtifact,
  { status, body }: { readonly status: number; readonly body: Buffer },
): void {
  if (status === 404) {
    ledger.evicted++;
    const index = ledger.stored.indexOf(what.n);
    if (index !== -1) ledger.stored.splice(index, 1);
    return;
  }
  ledger.hits++;
  if (status !== 200) ledger.wrong.push(`${server.kind}: ${status} for ${what.path}`);
  else if (!body.equals(bodyOf(what.n))) ledger.wrong.push(`${server.kind}: other bytes for ${what.path}`);
}

async function range(_t: ExecutionContext, server: RunningServer, ledger: Ledger, random: () => number): Promise<void> {
  const what = known(ledger, random);
  if (what === undefined || what.size < 2) return;
  const start = Math.floor(random() * (what.size - 1));
  const end = start + 1 + Math.floor(random() * (what.size - start - 1));
  const headers = { range: `bytes=${start}-${end - 1}` };
  const { status, body } = await request(server, { path: what.path, headers });
  if (status === 404) return;
  ledger.hits++;
  if (status !== 206 || !body.equals(bodyOf(what.n).subarray(start, end))) {
    ledger.wrong.push(`${server.kind}: ${status} with ${body.byteLength} bytes for ${headers.range} of ${what.path}`);
  }
}

async function revalidate(
  _t: ExecutionContext,
  server: RunningServer,
  ledger: Ledger,
  random: () => number,
): Promise<void> {
  const what = known(ledger, random);
  if (what === undefined) return;
  const { status, headers } = await request(server, { method: 'HEAD', path: what.path });
  if (status === 404) return;
  const again = await request(server, { path: what.path, headers: { 'if-none-match': headers.etag } });
  if (status !== 200 || ![304, 404].includes(again.status)) {
    ledger.wrong.push(`${server.kind}: ${status}, then ${again.status} for a revalidation of ${what.path}`);
  }
}

async function miss(_t: ExecutionContext, server: RunningServer, ledger: Ledger, random: () => number): Promise<void> {
  const { status } = await request(server, { path: artifact(10_000_000 + Math.floor(random() * 1e6)).path });
  if (status !== 404) ledger.wrong.push(`${server.kind}: ${status} for a miss`);
}

/** A client that leaves somewhere in a download, with a reset. */
async function leave(t: ExecutionContext, server: RunningServer, ledger: Ledger, random: () => number): Promise<void> {
  const what = known(ledger, random);
  if (what === undefined) return;
  const download = await startPaused(t, server, what.path);
  if (what.size > 0 && download.status === 200) await download.leaveAfter(Math.ceil(what.size * random()));
  else download.leave();
  ledger.left++;
}

/** A client that leaves somewhere in an upload: nothing of it may be there. */
async function uploadAndLeave(
  _t: ExecutionContext,
  server: RunningServer,
  ledger: Ledger,
  random: () => number,
): Promise<void> {
  const what = artifact(20_000_000 + Math.floor(random() * 1e6));
  const leaving = new AbortController();
  const headers = { 'content-length': what.size + 1 };
  async function* body(): AsyncIterable<Uint8Array> {
    yield bodyOf(what.n);
    await wait(20 * random());
    leaving.abort();
  }
  // On a connection of its own: what a client of node:http2 leaves unsent fills its session's memory for ever.
  const own = { ...server };
  await request(own, {
    method: what.uploadMethod,
    path: what.path,
    headers,
    body: body(),
    signal: leaving.signal,
  }).catch(() => {});
  if (own.version === 2) sessionOf(own).destroy();
  const { status } = await request(server, { path: what.path });
  if (status !== 404) ledger.wrong.push(`${server.kind}: ${status} for half an upload`);
  ledger.left++;
}

/** A client that stops for a while in the midst of a download, and goes on. */
async function readSlowly(
  t: ExecutionContext,
  server: RunningServer,
  ledger: Ledger,
  random: () => number,
): Promise<void> {
  const what = known(ledger, random);
  if (what === undefined) return;
  const { status, finish, leave: close } = await startPaused(t, server, what.path);
  await wait(2000 * random());
  check(server, ledger, what, { status, body: await finish() });
  close();
}
