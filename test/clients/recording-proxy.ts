import { once } from 'node:events';
import http, { type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';

/** Upload that a build tool has sent. */
export interface RecordedUpload {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Starts a proxy that forwards requests, and adds the uploads to `uploads`. Resolves to its port. */
export async function recordUploads(t: ExecutionContext, port: number, uploads: RecordedUpload[]): Promise<number> {
  const proxy = http.createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    const onward = http.request({ port, host: '127.0.0.1', method, path: url, headers, agent: false });
    onward.on('error', () => response.destroy());
    request.on('error', () => onward.destroy());
    const chunks: Buffer[] = [];
    if (method === 'PUT') request.on('data', (chunk: Buffer) => chunks.push(chunk));
    onward.on('response', (answer) => {
      if (method === 'PUT') uploads.push({ url, headers, body: Buffer.concat(chunks) });
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(response).on('error', () => answer.destroy());
    });
    request.pipe(onward);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.teardown(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  // A server that listens on a port has an AddressInfo.
  return (proxy.address() as AddressInfo).port;
}
