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

type Send = (message: unknown, handle?: unknown, ...rest: unknown[]) => boolean;

/**
 * Connections that node:cluster has passed to a process, and that the process has not taken yet. If the process ends, node:cluster
 * forgets these connections, and their clients would wait for ever.
 */
export class Handoffs {
  readonly #send: Send;
  readonly #pending = new Map<number, { readonly message: NewConnection; readonly connection: Connection }>();

  /** @param child process that node:cluster has started */
  constructor(child: ChildProcess) {
    this.#send = child.send.bind(child) as Send;
    const send: Send = (message, handle, ...rest) => {
      if (isNewConnection(message)) {
        // node:cluster sends a handle with each of these messages.
        this.#pending.set(message.seq, { message, connection: handle as Connection });
      }
      return this.#send(message, handle, ...rest);
    };
    child.send = send as typeof child.send;
    child.on('internalMessage', (message: unknown) => {
      if (isAnswer(message)) this.#pending.delete(message.ack);
    });
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

function isOfCluster(message: unknown): message is object {
  return typeof message === 'object' && message !== null && 'cmd' in message && message.cmd === 'NODE_CLUSTER';
}
