import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from '../stores/fixture.js';

export type StoreKind = 'directory' | 'segments';

/** Only valid token of the server. */
export const TOKEN = 'build-0123456789abcdef';

/** `hotblob serve` in a child process. */
export class CacheServer {
  readonly #directory: string;
  readonly #options: readonly string[];
  #child: ChildProcess | undefined;
  #port = 0;

  static async start(t: ExecutionContext, store: StoreKind, ...options: string[]): Promise<CacheServer> {
    const server = new CacheServer(await temporaryDirectory(t), ['--store', store, ...options]);
    t.teardown(() => server.kill());
    await writeFile(server.tokens, `write ${TOKEN}\n`, { mode: 0o600 });
    await server.start();
    return server;
  }

  private constructor(directory: string, options: readonly string[]) {
    this.#directory = directory;
    this.#options = options;
  }

  get port(): number {
    return this.#port;
  }

  private get tokens(): string {
    return join(this.#directory, 'tokens');
  }

  private get artifacts(): string {
    return join(this.#directory, 'artifacts');
  }

  /** Starts the server. After {@link kill}, starts it again on the same port. */
  async start(): Promise<void> {
    const args = ['serve', '--dir', this.artifacts, '--port', String(this.#port), '--tokens', this.tokens];
    const child = spawn(process.execPath, ['dist/cli.js', ...args, ...this.#options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child = child;
    const { value: line = '' } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
    this.#port = Number(/:(\d+) /.exec(line)?.[1]);
  }

  /** Kills the server with SIGKILL, like the OOM killer. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** Corrupts every stored artifact on disk. Resolves to the number of changed files. */
  async corrupt(): Promise<number> {
    const root = this.#options.includes('segments') ? join(this.artifacts, 'segments') : this.artifacts;
    await mkdir(root, { recursive: true });
    let count = 0;
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.parentPath.includes('.hotblob')) continue;
      const path = join(entry.parentPath, entry.name);
      const bytes = await readFile(path);
      // At intervals, because a segment contains several artifacts.
      for (let at = 40; at < bytes.byteLength; at += 100) bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      await writeFile(path, bytes);
      count++;
    }
    return count;
  }
}
