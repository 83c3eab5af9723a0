import { randomUUID } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Exchange } from '../../contract/exchange.js';
import type { ExchangeHandler } from '../../handler/handler.js';
import { RESPONSE_CHANNEL, type ResponseReport } from '../../handler/response-record.js';
import { mainSource } from '../../send/tally.js';
import { type AccessEntry, type AccessLogFormat, formatEntry } from './entry.js';
import type { LineFile } from './line-file.js';

const HEADER = 'x-request-id';
/** Request ids of clients and proxies that are taken over. Others could contain anything. */
const REQUEST_ID = /^[\w.:@~+/=-]{1,128}$/;

/** Request in flight. */
interface Pending {
  readonly id: string;
  readonly startedAt: number;
  status: number;
  report: ResponseReport | undefined;
}

/**
 * Writes a line for each request of a handler. Each response gets the header `X-Request-Id`: that of the request, if it is valid, or a
 * new one.
 */
export class AccessLog implements ExchangeHandler {
  readonly #handler: ExchangeHandler;
  readonly #file: LineFile;
  readonly #format: AccessLogFormat;
  readonly #pending = new WeakMap<Exchange, Pending>();

  constructor(handler: ExchangeHandler, file: LineFile, format: AccessLogFormat) {
    this.#handler = handler;
    this.#file = file;
    this.#format = format;
    subscribe(RESPONSE_CHANNEL, this.#onReport);
  }

  async handle(exchange: Exchange): Promise<boolean> {
    const { [HEADER]: given } = exchange.headers;
    const id = typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
    const pending: Pending = { id, startedAt: performance.now(), status: 0, report: undefined };
    this.#pending.set(exchange, pending);
    const { respond } = exchange;
    exchange.respond = (status, headers) => {
      pending.status = status;
      respond.call(exchange, status, { ...headers, [HEADER]: id });
    };
    // The address of a closed socket is not known any more.
    const { remoteAddress } = exchange;
    const write = (): void => this.#write(exchange, remoteAddress, pending);
    const isHandled = await this.#handler.handle(exchange);
    if (isHandled) write();
    else exchange.onClose(write);
    return isHandled;
  }

  close(): void {
    unsubscribe(RESPONSE_CHANNEL, this.#onReport);
  }

  readonly #onReport = (message: unknown): void => {
    const report = message as ResponseReport; // the channel publishes only reports
    const pending = this.#pending.get(report.exchange);
    if (pending !== undefined) pending.report = report;
  };

  #write(exchange: Exchange, client: string | undefined, { id, startedAt, status, report }: Pending): void {
    const { method, url, headers, multiplexed } = exchange;
    const bytes = report?.bytes;
    const entry: AccessEntry = {
      time: new Date(),
      id,
      client,
      method,
      path: url,
      http: multiplexed ? '2.0' : '1.1',
      protocol: report?.protocol,
      namespace: report?.namespace,
      scope: report?.key === undefined ? undefined : report.scope,
      key: report?.key,
      status: report?.status || status,
      failure: report?.failure,
      received: report?.receivedBytes ?? 0,
      bytes: bytes === undefined ? 0 : bytes.bytes + bytes.mapped + bytes.copied + bytes.read + bytes.stream,
      source: bytes && mainSource(bytes),
      milliseconds: report?.milliseconds ?? performance.now() - startedAt,
      complete: report?.complete ?? true,
      subject: report?.subject,
      agent: headers['user-agent'],
    };
    this.#file.add(formatEntry(entry, this.#format));
  }
}
