import { once } from 'node:events';
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Transform } from 'node:stream';

/** Request that the proxy has received. */
export interface ProxyRequest {
  /** Method and S3 operation, such as `GET`, `PUT part 2` or `POST uploads`. */
  readonly operation: string;
  /** Decoded object name, without the bucket. */
  readonly key: string;
  readonly headers: IncomingHttpHeaders;
  /** Bytes of the body received so far. */
  bodyBytes: number;
  /** Whether the client closed the connection before the response was complete. */
  isAbortedByClient: boolean;
  /** Whether the response has ended or the connection is closed. */
  isDone: boolean;
}

/** What the proxy does to a request. Without a fault it forwards the request and the response. */
export type Fault =
  /** Sends an error response of S3. */
  | { readonly status: number; readonly code?: string; readonly xml?: string }
  /** Sends an error response of a load balancer. */
  | { readonly htmlStatus: number }
  /** Resets the connection after this many bytes of the response body. */
  | { readonly resetResponseAt: number }
  /** Stops sending after this many bytes of the response body. */
  | { readonly stallResponseAt: number }
  /** Ends the response body after this many bytes, with a matching content-length. */
  | { readonly endResponseAt: number }
  /** Resets the connection after this many bytes of the request body. */
  | { readonly resetRequestAt: number }
  /** Forwards the request, and resets the connection instead of sending the response. */
  | { readonly loseResponse: true }
  /** Sends no response. */
  | { readonly ignore: true }
  /** Removes the Range header. */
  | { readonly noRange: true }
  /** Delays each of the first 16 half MiB of the request body by this time. */
  | { readonly slowRequestMs: number }
  /** Forwards the request when this promise resolves. */
  | { readonly after: Promise<unknown> };

type ResponseBodyFault = Extract<
  Fault,
  { resetResponseAt: number } | { stallResponseAt: number } | { endResponseAt: number }
>;

/** Proxy between a store and the S3 service. It records requests and injects the faults that a test asks for. */
export class S3Proxy {
  readonly requests: ProxyRequest[] = [];
  /** Called for each request. */
  fault: (request: ProxyRequest) => Fault | undefined = () => undefined;
  /** Whether requests for a key are forwarded one at a time. S3 replaces objects atomically; s3rver writes them in place. */
  isAtomic = false;
  /** The last forwarded request of each key, with `isAtomic`. */
  readonly #queues = new Map<string, Promise<void>>();
  readonly #server: http.Server;
  readonly #agent = new http.Agent({ keepAlive: true });
  readonly #servicePort: number;

  static async start(servicePort: number): Promise<S3Proxy> {
    const proxy = new S3Proxy(servicePort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  private constructor(servicePort: number) {
    this.#servicePort = servicePort;
    this.#server = http.createServer((request, response) => void this.#serve(request, response));
  }

  get endpoint(): string {
    // The address of a server that listens on a port is an AddressInfo.
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Operations of the recorded requests, in order of arrival. */
  get operations(): string[] {
    return this.requests.map(({ operation }) => operation);
  }

  /** Forgets the recorded requests. */
  clear(): void {
    this.requests.length = 0;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const recorded = this.#record(request);
    response.on('close', () => {
      recorded.isDone = true;
      recorded.isAbortedByClient = !response.writableFinished;
    });
    response.on('error', () => {});
    request.on('error', () => {});
    const fault = this.fault(recorded);
    if (fault === undefined && this.isAtomic && !recorded.operation.includes('part')) {
      const previous = this.#queues.get(recorded.key) ?? Promise.resolve();
      const forwarded = previous.then(async () => {
        // s3rver ignores the header on uploads.
        if (request.headers['if-none-match'] !== '*' || !(await this.#exists(request))) {
          return this.#forwardBuffered(request, response, recorded);
        }
        request.resume();
        sendError(response, 412, 'PreconditionFailed');
      });
      this.#queues.set(recorded.key, forwarded);
      return forwarded;
    }
    if (fault === undefined) return this.#forward(request, response, recorded);
    if ('after' in fault) {
      await fault.after;
      return this.#forward(request, response, recorded);
    }
    if ('resetRequestAt' in fault) {
      request.on('data', (chunk: Buffer) => {
        recorded.bodyBytes += chunk.byteLength;
        if (recorded.bodyBytes >= fault.resetRequestAt) request.socket.resetAndDestroy();
      });
      return;
    }
    if ('noRange' in fault) {
      delete request.headers.range;
      return this.#forward(request, response, recorded);
    }
    if ('slowRequestMs' in fault) return this.#forward(request, response, recorded, undefined, fault.slowRequestMs);
    if (
      'resetResponseAt' in fault ||
      'stallResponseAt' in fault ||
      'endResponseAt' in fault ||
      'loseResponse' in fault
    ) {
      return this.#forward(request, response, recorded, fault);
    }
    request.on('data', (chunk: Buffer) => {
      recorded.bodyBytes += chunk.byteLength;
    });
    if ('ignore' in fault) return;
    await once(request, 'end');
    if ('htmlStatus' in fault) {
      response
        .writeHead(fault.htmlStatus, { 'content-type': 'text/html' })
        .end('<html><body>Bad gateway</body></html>');
      return;
    }
    const { status, code = 'Unknown', xml = '' } = fault;
    sendError(response, status, code, xml);
  }

  #record(request: IncomingMessage): ProxyRequest {
    const url = new URL(request.url ?? '/', 'http://s3');
    const part = url.searchParams.get('partNumber');
    const parameter = ['uploads', 'uploadId'].filter((each) => url.searchParams.has(each)).join('');
    const suffix = part ? `part ${part}` : parameter;
    const recorded: ProxyRequest = {
      operation: `${request.method} ${suffix}`.trim(),
      key: decodeURIComponent(url.pathname.slice(1).replace(/^[^/]*\//, '')),
      headers: { ...request.headers },
      bodyBytes: 0,
      isAbortedByClient: false,
      isDone: false,
    };
    this.requests.push(recorded);
    return recorded;
  }

  /** Forwards a request and buffers the response. Resolves when the service is done, however slowly the client reads. */
  #forwardBuffered(request: IncomingMessage, response: ServerResponse, recorded: ProxyRequest): Promise<void> {
    return new Promise((resolve) => {
      if (response.destroyed) {
        resolve();
        return;
      }
      const outgoing = this.#sendToService(request, response, recorded);
      outgoing.on('close', resolve);
      outgoing.on('response', (incoming) => {
        // For a range of an empty object, s3rver announces one byte and never sends it.
        if (incoming.headers['content-range']?.endsWith('/0')) {
          outgoing.destroy();
          sendError(response, 416, 'InvalidRange');
          return;
        }
        const chunks: Buffer[] = [];
        incoming.on('error', () => response.destroy());
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () => {
          response.writeHead(incoming.statusCode ?? 0, incoming.headers).end(Buffer.concat(chunks));
        });
      });
    });
  }

  async #exists({ url = '', headers }: IncomingMessage): Promise<boolean> {
    const path = new URL(url, 'http://s3').pathname;
    const found = await fetch(`http://127.0.0.1:${this.#servicePort}${path}`, {
      method: 'HEAD',
      headers: { host: headers.host ?? '' },
    });
    return found.ok;
  }

  #sendToService(
    request: IncomingMessage,
    response: ServerResponse,
    recorded: ProxyRequest,
    slowMs?: number,
  ): http.ClientRequest {
    const { method, url, headers } = request;
    const target = { port: this.#servicePort, host: '127.0.0.1', agent: this.#agent };
    const outgoing = http.request({ ...target, method, path: url, headers });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    request.on('data', (chunk: Buffer) => {
      recorded.bodyBytes += chunk.byteLength;
    });
    (slowMs === undefined ? request : request.pipe(delayBody(slowMs))).pipe(outgoing);
    return outgoing;
  }

  #forward(
    request: IncomingMessage,
    response: ServerResponse,
    recorded: ProxyRequest,
    fault?: ResponseBodyFault | { readonly loseResponse: true },
    slowMs?: number,
  ): void {
    const outgoing = this.#sendToService(request, response, recorded, slowMs);
    outgoing.on('response', (incoming) => {
      incoming.on('error', () => response.destroy());
      if (fault !== undefined && 'loseResponse' in fault) {
        incoming.resume().on('end', () => response.socket?.resetAndDestroy());
        return;
      }
      const length = fault !== undefined && 'endResponseAt' in fault ? { 'content-length': fault.endResponseAt } : {};
      response.writeHead(incoming.statusCode ?? 0, { ...incoming.headers, ...length }).flushHeaders();
      if (fault === undefined) incoming.pipe(response);
      else incoming.pipe(interruptBody(fault, () => response.socket?.resetAndDestroy())).pipe(response);
    });
  }
}

function sendError(response: ServerResponse, status: number, code: string, xml = ''): void {
  response.writeHead(status, { 'content-type': 'application/xml', 'x-amz-request-id': 'REQUEST7' });
  const error = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message>${xml}</Error>`;
  response.end(response.req.method === 'HEAD' ? undefined : error);
}

function delayBody(milliseconds: number): Transform {
  const stepBytes = 512 * 1024;
  let steps = 0;
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      bytes += chunk.byteLength;
      if (bytes < stepBytes || steps === 16) {
        callback(null, chunk);
        return;
      }
      bytes = 0;
      steps++;
      setTimeout(callback, milliseconds, null, chunk);
    },
  });
}

function interruptBody(fault: ResponseBodyFault, reset: () => void): Transform {
  const [[kind, length] = ['', 0]] = Object.entries(fault);
  let forwarded = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      const remaining = length - forwarded;
      forwarded += chunk.byteLength;
      if (chunk.byteLength < remaining) {
        callback(null, chunk);
        return;
      }
      this.push(chunk.subarray(0, remaining));
      // Delayed, so that the bytes before the reset are sent. A stall is a callback that is never called.
      if (kind === 'resetResponseAt') setTimeout(reset, 20);
      if (kind === 'endResponseAt') this.push(null);
    },
  });
}
