import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { PutOptions, PutResult, StoreStats } from '../../../src/contract/store.js';
import { decodeError, type RemoteError } from '../../../src/stores/shared/remote-error.js';
import type { SharedStoreOptions } from '../../../src/stores/shared/store.js';

export interface ToChild {
  readonly id: number;
  readonly request:
    | { readonly kind: 'put'; readonly key: string; readonly bytes: string; readonly options: Partial<PutOptions> }
    | { readonly kind: 'get' | 'delete'; readonly key: string }
    | { readonly kind: 'begin'; readonly key: string; readonly length: number }
    | { readonly kind: 'stats' | 'close' | 'exhaust' | 'free' };
}

export type FromChild = { readonly id: number } & ({ readonly result: unknown } | { readonly error: RemoteError });

const PROGRAM = fileURLToPath(new URL('./child.ts', import.meta.url));

/** Process that has opened a shared store. */
export class SharingProcess {
  readonly child: ChildProcess;
  readonly #pending = new Map<number, (message: FromChild) => void>();
  #lastId = 0;

  static async start(
    t: { teardown(task: () => unknown): void },
    dir: string,
    options: SharedStoreOptions,
    maxDescriptors?: number,
  ): Promise<SharingProcess> {
    const args = ['--import=tsx', PROGRAM, dir, JSON.stringify(options)];
    const limit = maxDescriptors === undefined ? '' : `ulimit -n ${maxDescriptors}; `;
    const child = spawn('sh', ['-c', `${limit}exec "$0" "$@"`, process.execPath, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const sharing = new SharingProcess(child);
    await new Promise<void>((resolve, reject) => {
      sharing.#pending.set(0, () => resolve());
      child.once('exit', (code) => reject(new Error(`the process ended with ${code}`)));
    });
    return sharing;
  }

  private constructor(child: ChildProcess) {
    this.child = child;
    child.on('message', (message: FromChild) => {
      this.#pending.get(message.id)?.(message);
      this.#pending.delete(message.id);
    });
  }

  put(key: string, bytes: Uint8Array, options: Partial<PutOptions> = {}): Promise<PutResult> {
    return this.#perform({
      kind: 'put',
      key,
      bytes: Buffer.from(bytes).toString('base64'),
      options,
    }) as Promise<PutResult>;
  }

  async get(key: string): Promise<Buffer | undefined> {
    const found = await this.find(key);
    return found && Buffer.from(found.bytes, 'base64');
  }

  /** Resolves to the bytes in base64, and the metadata. */
  find(key: string): Promise<{ readonly bytes: string; readonly contentType?: string } | undefined> {
    return this.#perform({ kind: 'get', key }) as Promise<{ bytes: string; contentType?: string } | undefined>;
  }

  delete(key: string): Promise<boolean> {
    return this.#perform({ kind: 'delete', key }) as Promise<boolean>;
  }

  stats(): Promise<StoreStats & { readonly isWriter: boolean }> {
    return this.#perform({ kind: 'stats' }) as Promise<StoreStats & { isWriter: boolean }>;
  }

  async close(): Promise<void> {
    await this.#perform({ kind: 'close' });
  }

  /** Begins an upload of `length` bytes that never ends. Resolves when the bytes are sent. */
  async begin(key: string, length: number): Promise<void> {
    await this.#perform({ kind: 'begin', key, length });
  }

  /** Opens files until the process has no more descriptors. */
  async exhaust(): Promise<void> {
    await this.#perform({ kind: 'exhaust' });
  }

  /** Closes the files of {@link exhaust}. */
  async free(): Promise<void> {
    await this.#perform({ kind: 'free' });
  }

  async kill(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  // The child returns results of the types above.
  #perform(request: ToChild['request']): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, (message) => {
        if ('error' in message) reject(decodeError(message.error));
        else resolve('result' in message ? message.result : undefined);
      });
      this.child.send({ id, request } satisfies ToChild, (error) => error && reject(error));
    });
  }
}
