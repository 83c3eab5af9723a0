import { once } from 'node:events';
import http from 'node:http';

export interface Received {
  readonly status: number;
  readonly body: Buffer;
}

export interface SendOptions extends http.RequestOptions {
  readonly body?: Uint8Array | string;
}

/** Sends a request over HTTP/1.1. With `agent: false`, it has a connection of its own, so that it can reach another process. */
export async function send(url: string, { body, ...options }: SendOptions = {}): Promise<Received> {
  const request = http.request(url, options);
  request.end(body);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]; // the declared event
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks) };
}
