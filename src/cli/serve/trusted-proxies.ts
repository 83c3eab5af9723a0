import { BlockList, isIP } from 'node:net';
import type { Exchange } from '../../contract/exchange.js';
import type { ExchangeHandler } from '../../handler/handler.js';
import { UsageError } from '../command.js';

/** Addresses of proxies that are not counted as clients. */
export class TrustedProxies {
  readonly #addresses = new BlockList();

  /**
   * @param texts IP addresses, networks such as `10.0.0.0/8`, or `loopback`
   * @throws UsageError for any other text
   */
  constructor(texts: readonly string[]) {
    for (const text of texts) this.#add(text);
  }

  /**
   * Returns the address of the client: the last one in `Forwarded` (RFC 7239) or `X-Forwarded-For` that is not a trusted proxy.
   * What precedes it may be forged. Returns the address of the connection if that is not a trusted proxy.
   */
  clientOf({ headers, remoteAddress }: Pick<Exchange, 'headers' | 'remoteAddress'>): string | undefined {
    if (remoteAddress === undefined || !this.#includes(remoteAddress)) return remoteAddress;
    const { forwarded, 'x-forwarded-for': forwardedFor } = headers;
    const hops = forwarded === undefined ? hopsOf(forwardedFor) : forwardedHops(forwarded);
    let client = remoteAddress;
    for (const hop of hops.reverse()) {
      if (hop === undefined) return client; // an obfuscated identifier: nothing before it can be trusted
      client = hop;
      if (!this.#includes(hop)) return client;
    }
    return client;
  }

  /** Returns a handler whose exchanges have the address of the client. */
  wrap(handler: ExchangeHandler): ExchangeHandler {
    return {
      handle: (exchange) => {
        const client = this.clientOf(exchange);
        if (client !== exchange.remoteAddress) Object.defineProperty(exchange, 'remoteAddress', { value: client });
        return handler.handle(exchange);
      },
    };
  }

  #includes(address: string): boolean {
    const ip = isIP(address);
    return ip !== 0 && this.#addresses.check(address, ip === 4 ? 'ipv4' : 'ipv6');
  }

  #add(text: string): void {
    if (text === 'loopback') {
      this.#add('127.0.0.0/8');
      this.#add('::1');
      return;
    }
    const [address = '', prefix, rest] = text.split('/');
    const ip = isIP(address);
    const max = ip === 4 ? 32 : 128;
    const bits = prefix === undefined ? max : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    if (ip === 0 || rest !== undefined || !(bits >= 0 && bits <= max)) {
      throw new UsageError(
        `--trust-proxy: expected an IP address, a network such as 10.0.0.0/8, or loopback, received '${text}'`,
      );
    }
    this.#addresses.addSubnet(address, bits, ip === 4 ? 'ipv4' : 'ipv6');
  }
}

function hopsOf(header: string | string[] | undefined): (string | undefined)[] {
  return header === undefined ? [] : String(header).split(',').map(addressOf);
}

/** Returns the `for` parameters of `Forwarded`. A hop without one is undefined. */
function forwardedHops(header: string): (string | undefined)[] {
  return header.split(',').map((element) => {
    const [, value] = /(?:^|;)\s*for=("[^"]*"|[^;\s]*)/i.exec(element) ?? [];
    return value === undefined ? undefined : addressOf(value.replaceAll('"', ''));
  });
}

/** Returns the IP address without port and brackets; undefined for anything else. */
function addressOf(text: string): string | undefined {
  const trimmed = text.trim();
  const [, bracketed] = /^\[([^\]]*)\](?::\d+)?$/.exec(trimmed) ?? [];
  const address = bracketed ?? (trimmed.split(':').length === 2 ? trimmed.replace(/:\d*$/, '') : trimmed);
  return isIP(address) === 0 ? undefined : address;
}
