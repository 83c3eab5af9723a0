import { once } from 'node:events';
import type { ListenOptions } from 'node:net';
import type { HistoryWindow } from '../history/history.js';
import type { HistoryNames } from './history-names.js';
import { type FromProcess, isError, type PortAddress, restoreError, type ToProcess, unwrap } from './messages.js';
import type { ClusterTotals, Snapshot } from './sum-stats.js';

/** Maximum time in milliseconds to wait for statistics. */
const ANSWER_MS = 2000;

/** Connection of a process to its parent. */
export class ParentLink {
  /** Number of processes that are alive. */
  processes = 1;
  readonly #waiting = new Map<number, (message: ToProcess, handle: unknown) => void>();
  #lastId = 0;
  /** Number of requests for port 0. */
  #freePorts = 0;

  /** @param onMessage receives the messages that are not answers */
  constructor(onMessage: (message: ToProcess) => void) {
    process.on('message', (value: unknown, handle: unknown) => {
      const message = unwrap<ToProcess>(value);
      if (message === undefined) return;
      if (message.type === 'start' || message.type === 'count') this.processes = message.processes;
      const isAnswer = message.type === 'port' || message.type === 'totals' || message.type === 'history';
      const waiting = isAnswer ? this.#waiting.get(message.id) : undefined;
      if (waiting === undefined) onMessage(message);
      else waiting(message, handle);
    });
  }

  /**
   * Sends a message, and resolves when it has been sent.
   *
   * @throws TypeError if the message has a value that cannot be serialized
   */
  send(message: FromProcess): Promise<void> {
    return new Promise((resolve) => this.post(message, resolve));
  }

  /**
   * Sends a message.
   *
   * @param onSent called when the message has been sent
   * @throws TypeError if the message has a value that cannot be serialized
   */
  post(message: FromProcess, onSent = (): void => {}): void {
    // Without a parent, the process is about to end.
    if (!process.connected) onSent();
    else process.send?.({ hotblob: message }, undefined, undefined, () => onSent());
  }

  /**
   * Asks the parent for a share of a port, and resolves to the options of `listen` for it.
   *
   * @throws the system error if the port cannot be used
   */
  async listenOptions(options: ListenOptions & { readonly fd?: number }): Promise<ListenOptions> {
    // node:cluster shares sockets with a path and open descriptors by itself.
    if (options.fd !== undefined || (options.port === undefined && options.path !== undefined)) return options;
    const { port = 0, host, ipv6Only = false, ...rest } = options;
    const free = Number(port) === 0 ? ++this.#freePorts : undefined;
    const id = ++this.#lastId;
    const answer = new Promise<readonly [ToProcess, unknown]>((resolve) => {
      this.#waiting.set(id, (message, handle) => resolve([message, handle]));
    });
    void this.send({ type: 'listen', id, request: { port, host, ipv6Only, free } });
    const [message, handle] = await answer;
    this.#waiting.delete(id);
    const { result } = message as Extract<ToProcess, { type: 'port' }>; // the answer to `listen`
    if (isError(result)) throw restoreError(result);
    return { ...rest, ...listenTarget(result, handle, ipv6Only) };
  }

  /** Resolves to the statistics of all processes, or to `undefined` if the parent does not answer within two seconds. */
  async totals(snapshot: Snapshot): Promise<ClusterTotals | undefined> {
    const answer = await this.#ask((id) => ({ type: 'totals', id, snapshot }));
    return answer?.type === 'totals' ? answer.totals : undefined;
  }

  /** Resolves to a history that the parent keeps, or to `undefined` if the parent does not answer within two seconds. */
  async history(names: HistoryNames, seconds: number): Promise<HistoryWindow | undefined> {
    const answer = await this.#ask((id) => ({ type: 'history', id, names, seconds }));
    return answer?.type === 'history' ? answer.history : undefined;
  }

  async #ask(question: (id: number) => FromProcess): Promise<ToProcess | undefined> {
    const id = ++this.#lastId;
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answer = new Promise<ToProcess | undefined>((resolve) => {
      this.#waiting.set(id, resolve);
      void once(signal, 'abort').then(() => resolve(undefined));
    });
    void this.send(question(id));
    try {
      return await answer;
    } finally {
      this.#waiting.delete(id);
    }
  }
}

function listenTarget({ port, address }: PortAddress, handle: unknown, ipv6Only: boolean): ListenOptions {
  // `listen` accepts an object with a handle, which the types of Node do not declare.
  if (typeof handle === 'object' && handle !== null) return { handle } as ListenOptions;
  return { port, host: address, ipv6Only };
}
