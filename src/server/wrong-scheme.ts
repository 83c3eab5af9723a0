import type { Socket } from 'node:net';
import { linger } from '../adapters/linger.js';
import { reportEvent } from '../util/report-event.js';
import { logConnection } from './log.js';

interface WrongScheme {
  /** Text for the client. */
  readonly message: string;
  /** Text for the operator. */
  readonly event: string;
}

/** By the scheme that the port expects. */
const WRONG_SCHEMES: Readonly<Record<'http' | 'https', WrongScheme>> = {
  // A TLS client cannot read the text, but it reports that the response is not TLS ("wrong version number" in OpenSSL).
  http: {
    message: 'This port expects HTTP without TLS. Use http:// in the URL.',
    event: 'speaks TLS to the plain port; use http:// in its URL, or serve HTTPS (--tls-cert, or the option tls)',
  },
  https: {
    message: 'This port expects HTTPS. Use https:// in the URL.',
    event: 'speaks HTTP without TLS to the HTTPS port; use https:// in its URL',
  },
};

/**
 * Responds with 400 to a client that speaks TLS to a plain port, or HTTP to a port with TLS, and closes the connection. What the
 * client still sends is discarded, because the client could lose the response if the connection were reset.
 */
export function answerWrongScheme(socket: Socket, expected: keyof typeof WRONG_SCHEMES): void {
  const { message, event } = WRONG_SCHEMES[expected];
  const client = socket.remoteAddress === undefined ? 'a client' : `the client ${socket.remoteAddress}`;
  logConnection('connection closed: %s %s', client, event);
  reportEvent('wrong scheme', `${client} ${event}`);
  const body = `${JSON.stringify({ message })}\n`;
  const head = [
    'HTTP/1.1 400 Bad Request',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  linger(socket, () => socket.destroy());
}
