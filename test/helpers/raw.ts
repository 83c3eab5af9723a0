import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import type { ExecutionContext } from 'ava';
import type { RunningServer } from './servers.js';

const TIMEOUT_MS = 60_000;

/** A connection on which a test writes every byte itself. Text is latin1, so that each character is one byte. */
export class RawConnection {
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  #error: Error | undefined;

  static async open(t: ExecutionContext, server: RunningServer): Promise<RawConnection> {
    const address = { host: '127.0.0.1', port: server.port };
    const socket = server.tls ? tls.connect({ ...address, ca: server.certificate?.cert }) : net.connect(address);
    await once(socket, server.tls ? 'secureConnect' : 'connect');
    const connection = new RawConnection(socket);
    t.teardown(() => connection.destroy());
    return connection;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    socket.on('error', (error) => {
      this.#error = error;
    });
  }

  /** All bytes received so far. */
  get text(): string {
    return Buffer.concat(this.#chunks).toString('latin1');
  }

  /** Error of the connection, such as a reset. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Stops reading. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  write(text: string | Uint8Array): void {
    this.#socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }

  /** Declares that nothing more will be written. */
  end(): void {
    this.#socket.end();
  }

  /** Waits until the received text matches `pattern`, and resolves to it. */
  async until(pattern: RegExp): Promise<string> {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    for (;;) {
      const { text } = this;
      if (pattern.test(text)) return text;
      if (this.#socket.destroyed)
        throw new Error(`connection closed before ${pattern} matched: ${text}`, { cause: this.#error });
      try {
        await Promise.race([once(this.#socket, 'data', { signal }), once(this.#socket, 'close', { signal })]);
      } catch (cause) {
        throw new Error(`${pattern} did not match within ${TIMEOUT_MS} ms: ${this.text}`, { cause });
      }
    }
  }

  /** Waits until the server closes the connection, and resolves to the received text. */
  async closed(): Promise<string> {
    if (!this.#socket.destroyed) await once(this.#socket, 'close', { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return this.text;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
