import type { ChildProcess } from 'node:child_process';

/** Connection that node:cluster passes to a process. `close` closes the handle of the parent. */
interface Connection {
  close(): void;
}

/** Message of node:cluster with a new connection, and the answer to it. */
interface NewConnection {
  readonly cmd: 'NODE_CLUSTER';
  readonly act: 'newconn';
  readonly seq: number;
}
interface Answer {
  readonly cmd: 'NODE_CLUSTER';
  readonly ack: number;
}

/** Time in milliseconds after which a connection is passed to another process, because this one had no free descriptor for it. */
const RETRY_MS = 50;

type Send = (message: unknown, handle?: unknown, ...rest: unknown[]) => boolean;

/**
 * Connections that node:cluster has passed to a process, and that the process has not taken yet. If the process ends, or has no free
 * descriptor for a connection, node:cluster forgets the connection, and its client would wait for ever. In the second case,
 * node:cluster would also wait for ever before it passes further connections to the process.
 */
export class Handoffs {
  readonly #send: Send;
  readonly #pending = new Map<number, { readonly message: NewConnection; readonly connection: Connection }>();
  /** Messages with a handle whose arrival Node has not reported yet, in their order. The number is that of a connection. */
  readonly #unreported: (number | undefined)[] = [];

  /** @param child process that node:cluster has started */
  constructor(child: ChildProcess) {
    this.#send = child.send.bind(child) as Send;
    const send: Send = (message, handle, ...rest) => {
      if (isNewConnection(message)) {
        // node:cluster sends a handle with each of these messages.
        this.#pending.set(message.seq, { message, connection: handle as Connection });
      }
      if (handle !== undefined && handle !== null) {
        this.#unreported.push(isNewConnection(message) ? message.seq : undefined);
      }
      return this.#send(message, handle, ...rest);
    };
    child.send = send as typeof child.send;
    child.on('internalMessage', (message: unknown) => {
      if (isAnswer(message)) this.#pending.delete(message.ack);
      const hasArrived = arrivalOf(message);
      if (hasArrived === undefined) return;
      const seq = this.#unreported.shift();
      if (!hasArrived && seq !== undefined) setTimeout(() => this.#refuse(child, seq), RETRY_MS).unref();
    });
  }

  /** Answers for a process that has not received a connection. node:cluster then passes it to the next free process. */
  #refuse(child: ChildProcess, seq: number): void {
    if (this.#pending.has(seq)) child.emit('internalMessage', { cmd: 'NODE_CLUSTER', ack: seq, accepted: false });
  }

  /**
   * Passes the connections to another process. node:cluster treats the answers of that process as answers of this one.
   *
   * @param other process that gets the connections; if `undefined`, they are closed
   */
  moveTo(other: Handoffs | undefined): void {
    for (const [seq, { message, connection }] of this.#pending) {
      if (other === undefined) connection.close();
      else {
        other.#pending.set(seq, { message, connection });
        other.#unreported.push(seq);
        other.#send(message, connection);
      }
    }
    this.#pending.clear();
  }
}

function isNewConnection(message: unknown): message is NewConnection {
  return isOfCluster(message) && 'act' in message && message.act === 'newconn';
}

function isAnswer(message: unknown): message is Answer {
  return isOfCluster(message) && 'ack' in message;
}

/** Returns whether a handle has arrived in the process, if the message reports this. Node sends such a message for each handle. */
function arrivalOf(message: unknown): boolean | undefined {
  if (typeof message !== 'object' || message === null || !('cmd' in message)) return undefined;
  if (message.cmd === 'NODE_HANDLE_ACK') return true;
  return message.cmd === 'NODE_HANDLE_NACK' ? false : undefined;
}

function isOfCluster(message: unknown): message is object {
  return typeof message === 'object' && message !== null && 'cmd' in message && message.cmd === 'NODE_CLUSTER';
}
