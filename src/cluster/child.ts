import cluster, { type Worker } from 'node:cluster';
import { Handoffs } from './handoffs.js';
import { forwardLines } from './lines.js';
import { type CloseReason, type FromProcess, restoreError, type ToProcess, unwrap } from './messages.js';
import type { BoundSocket } from './shared-ports.js';

/** Environment variable that is set in a process that {@link Child} has started. */
export const CHILD_VARIABLE = 'HOTBLOB_PROCESS';

/** Interval in milliseconds at which the connection to a process that has ended is checked. */
const DISCONNECT_CHECK_MS = 10;

/** Receiver of the messages of a process. */
export type OnMessage = (child: Child, message: FromProcess) => void;

/** Handle of the parent for a process that serves. */
export class Child {
  /** Process id; 0 if the system could not create the process. */
  readonly pid: number;
  /** Number of the place that the process takes. A successor gets the same number. */
  readonly place: number;
  /** Resolves to the `info` of the application when the process serves. Rejects if the process could not start. */
  readonly started: Promise<unknown>;
  /** Resolves to a description when the process has ended and all its messages have been received. */
  readonly ended: Promise<string>;
  /** Whether the parent has asked the process to end. */
  isClosing = false;
  /** `undefined` if the system could not create the process. */
  readonly #worker: Worker | undefined;
  readonly #handoffs: Handoffs | undefined;
  #hasGreeted = false;
  #onPong = (): void => {};
  #servingSince: number | undefined;

  constructor(place: number, onMessage: OnMessage) {
    this.place = place;
    const forked = fork();
    this.ended = forked instanceof Error ? Promise.resolve(forked.message) : endOf(forked);
    // Without a process id, the worker has neither streams nor a channel, and its event 'error' follows.
    const worker = forked instanceof Error || forked.process.pid === undefined ? undefined : forked;
    this.#worker = worker;
    this.pid = worker?.process.pid ?? 0;
    this.#handoffs = worker && new Handoffs(worker.process);
    if (worker?.process.stdout) forwardLines(worker.process.stdout, process.stdout);
    if (worker?.process.stderr) forwardLines(worker.process.stderr, process.stderr);
    this.started = new Promise((resolve, reject) => {
      worker?.on('message', (value: unknown) => {
        const message = unwrap<FromProcess>(value);
        if (message === undefined) return;
        if (message.type === 'hello') this.#hasGreeted = true;
        if (message.type === 'pong') this.#onPong();
        else if (message.type === 'failed') reject(restoreError(message.error));
        else if (message.type === 'listening') {
          this.#servingSince = performance.now();
          resolve(message.info);
        } else onMessage(this, message);
      });
      void this.ended.then((reason) => {
        reject(new Error(worker === undefined ? reason : `the process ended before it listened (${reason})`));
      });
    });
    this.started.catch(() => {}); // a caller may add its handler later
  }

  /** Name of the process in messages. */
  get name(): string {
    return this.pid === 0 ? 'a process' : `process ${this.pid}`;
  }

  /** Time in milliseconds for which the process has served. */
  get servedMs(): number {
    return this.#servingSince === undefined ? 0 : performance.now() - this.#servingSince;
  }

  get isServing(): boolean {
    return this.#servingSince !== undefined;
  }

  send(message: ToProcess, socket?: BoundSocket): void {
    if (!this.#worker?.isConnected()) return;
    // Node sends the handles of its own sockets, although the types name only sockets and servers.
    this.#worker.process.send({ hotblob: message }, socket as never, undefined, () => {});
  }

  answerPort(id: number, result: Extract<ToProcess, { type: 'port' }>['result'], socket?: BoundSocket): void {
    this.send({ type: 'port', id, result }, socket);
  }

  /** Resolves to false if the process does not respond within `timeoutMs`, for example because it was stopped by SIGSTOP. */
  responds(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      this.#onPong = () => {
        clearTimeout(timer);
        resolve(true);
      };
      void this.ended.then(this.#onPong); // there is nothing to wait for
      this.send({ type: 'ping' });
    });
  }

  /** Asks the process to complete its requests and end. Kills the process after `timeoutMs`. */
  async close(reason: CloseReason, timeoutMs: number): Promise<void> {
    this.isClosing = true;
    // A process that has not sent `hello` does not receive messages yet, and has no requests.
    if (this.#hasGreeted) this.send({ type: 'drain', reason });
    else this.kill();
    const timer = setTimeout(() => this.kill(), timeoutMs);
    await this.ended;
    clearTimeout(timer);
  }

  /** Passes the connections that this process did not take before it ended to `other`. Without `other`, closes them. */
  leaveConnections(other: Child | undefined): void {
    this.#handoffs?.moveTo(other === undefined ? undefined : other.#handoffs);
  }

  kill(): void {
    this.isClosing = true;
    this.#worker?.process.kill('SIGKILL');
  }
}

/** Starts a process. Returns the error if this fails at once, for example because the system has no memory for it. */
function fork(): Worker | Error {
  try {
    return cluster.fork({ [CHILD_VARIABLE]: '1' });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Resolves to a description when a process has ended and all its messages have been received. */
function endOf(worker: Worker): Promise<string> {
  return new Promise((resolve) => {
    worker.on('error', (error) => {
      // Other errors concern messages to a process that has ended.
      if (worker.process.pid === undefined) resolve(error.message);
    });
    worker.process.once('exit', (code, signal) => {
      // Node sets `connected` to false when it has read the last message. The event 'disconnect' is no alternative: Node
      // emits it only if the process has taken all connections that were passed to it.
      const check = (): void => {
        if (worker.process.connected) setTimeout(check, DISCONNECT_CHECK_MS);
        else resolve(signal ?? `exit code ${code}`);
      };
      check();
    });
  });
}
