import { once } from 'node:events';
import { existsSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import type { StatsDocument } from '../../../src/cli/serve/status-pages.js';
import { type Launch, type RunningCommand, startCommand } from '../../helpers/command-line.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { type Received, send } from '../../helpers/http1.js';
import { until } from '../../helpers/poll.js';

/** `hotblob serve --processes 2`, or with another number. */
export interface Launched extends RunningCommand {
  readonly directory: string;
  readonly dir: string;
  readonly port: number;
  readonly url: string;
  readonly lines: readonly string[];
  readonly errors: readonly string[];
}

/** {@link Launched}, with its statistics. */
export interface Processes extends Launched {
  stats(): Promise<StatsDocument>;
  /** Resolves to the process ids of the processes that serve. */
  pids(): Promise<number[]>;
}

export interface LaunchOptions extends Launch {
  /** Directory of the artifacts. Default: a new one. */
  readonly dir?: string;
}

/** Starts the server with `--processes 2`, and waits until it serves. */
export async function launch(
  t: ExecutionContext,
  args: readonly string[] = [],
  { dir: given, ...options }: LaunchOptions = {},
): Promise<Launched> {
  const directory = await temporaryDirectory(t);
  const dir = given ?? `${directory}/artifacts`;
  const count = args.includes('--processes') ? [] : ['--processes', '2'];
  const kind = args.includes('--store') ? [] : ['--store', 'directory'];
  const command = startCommand(['serve', '--dir', dir, '--port', '0', ...count, ...kind, ...args], options);
  t.teardown(() => command.child.kill('SIGKILL'));
  const lines: string[] = [];
  const errors: string[] = [];
  createInterface(command.child.stdout).on('line', (line) => lines.push(line));
  createInterface(command.child.stderr).on('line', (line) => errors.push(line));
  await until('the server prints its address', () => lines.length > 1);
  const url = /(https?:\/\/\S+) \(/.exec(lines[0] ?? '')?.[1] ?? '';
  return { ...command, directory, dir, port: Number(new URL(url).port), url, lines, errors };
}

/** Starts the server like {@link launch}, without TLS and tokens, and waits until all processes report statistics. */
export async function startProcesses(
  t: ExecutionContext,
  args: readonly string[] = [],
  options?: LaunchOptions,
): Promise<Processes> {
  const server = await launch(t, args, options);
  const { url } = server;
  const stats = async (): Promise<StatsDocument> => {
    const agent = new http.Agent();
    const response = await get(`${url}/_hotblob/stats`, { agent });
    agent.destroy();
    return JSON.parse(response.body.toString()) as StatsDocument; // the declared body
  };
  const pids = async () => ((await stats()).processes ?? []).map(({ pid }) => pid);
  await until('both processes have reported', async () => (await pids()).length >= 2);
  return { ...server, stats, pids };
}

/** Sends a GET request over HTTP/1.1. */
export const get = (url: string, options: http.RequestOptions = {}): Promise<Received> => send(url, options);

/** Starts an upload that stays in flight. */
export async function startUpload(server: Processes, key: string) {
  const before = (await server.stats()).handler.active;
  const upload = http.request(`${server.url}/${key}`, { method: 'PUT', agent: false });
  const ended = new Promise<number | string>((resolve) => {
    upload.on('response', ({ statusCode = 0 }) => resolve(statusCode));
    upload.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
  upload.write('x');
  await until('the upload is in flight', async () => (await server.stats()).handler.active > before);
  return { upload, ended };
}

/** Starts uploads that stay in flight, until every process has one. */
export async function startUploads(server: Processes) {
  const uploads: Awaited<ReturnType<typeof startUpload>>[] = [];
  await until('every process receives uploads', async () => {
    uploads.push(await startUpload(server, `key-${uploads.length}`));
    // One more connection now and then, because node:cluster gives connections to the processes in turn.
    if (uploads.length % 2 === 0) await server.stats();
    return ((await server.stats()).processes ?? []).every(({ active }) => active > 0);
  });
  return uploads;
}

/** Clients that send requests one after the other, until they are stopped. */
export interface Load {
  /** Number of responses so far. */
  readonly responses: number;
  /** Stops the clients. Resolves to the failures. */
  stop(): Promise<string[]>;
}

/**
 * Sends requests over new connections, over connections that are kept alive, and over HTTP/2 sessions. Every request must be
 * answered with 200.
 */
export function startLoad(url: string, path: string): Load {
  const failures: string[] = [];
  let isRunning = true;
  let responses = 0;
  const run = async (name: string, ask: () => Promise<number>): Promise<void> => {
    while (isRunning) {
      const status = await ask().catch((error: Error) => `${error.message} ${'code' in error ? error.code : ''}`);
      if (status === 200) responses++;
      else failures.push(`${name}: ${status}`);
    }
  };
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  const session = new Http2Client(url);
  const clients = [
    run('new connection', async () => (await get(url + path, { agent: false })).status),
    run('kept alive', async () => (await get(url + path, { agent })).status),
    run('kept alive', async () => (await get(url + path, { agent })).status),
    run('HTTP/2', () => session.get(path)),
  ];
  return {
    get responses() {
      return responses;
    },
    async stop() {
      isRunning = false;
      await Promise.all(clients);
      agent.destroy();
      session.close();
      return failures;
    },
  };
}

/** Client that opens another session when the server has drained the current one. */
class Http2Client {
  readonly #url: string;
  #session: http2.ClientHttp2Session | undefined;

  constructor(url: string) {
    this.#url = url;
  }

  async get(path: string): Promise<number> {
    for (;;) {
      const status = await this.#try(path);
      // Between the GOAWAY of the server and its arrival, a client can open a stream. It is refused before it is processed, and
      // clients repeat it (RFC 9113, 8.7).
      if (status !== 'refused') return status;
    }
  }

  async #try(path: string): Promise<number | 'refused'> {
    const session = await this.#open();
    const stream = session.request({ ':path': path });
    let status = 0;
    stream.on('response', (headers) => {
      status = Number(headers[':status']);
    });
    stream.on('error', () => {}).resume();
    await new Promise((resolve) => stream.once('close', resolve));
    if (stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM) return 'refused';
    if (stream.rstCode !== 0) throw new Error(`reset with ${stream.rstCode}`);
    return status;
  }

  close(): void {
    this.#session?.destroy();
  }

  async #open(): Promise<http2.ClientHttp2Session> {
    if (this.#session !== undefined) return this.#session;
    const session = http2.connect(this.#url);
    const forget = (): void => {
      if (this.#session === session) this.#session = undefined;
    };
    session.on('error', forget).on('close', forget).on('goaway', forget);
    this.#session = session;
    await once(session, 'connect');
    return session;
  }
}

/** Whether a process exists that has not ended. */
export function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/exe`);
}
