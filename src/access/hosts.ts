import type { OptionCheck } from '../contract/validation.js';

/** Check of the option `allowedHosts`. */
export const ALLOWED_HOSTS: OptionCheck = {
  expected: "an array of host names without a port, such as 'cache.example.com', '*.example.com' or '*'",
  accepts: (value) => Array.isArray(value) && value.every(isHostPattern),
};

/** Whether a value is a host name or an IP address (IPv6 in brackets), a wildcard for subdomains, or `*`. */
export function isHostPattern(value: unknown): boolean {
  return typeof value === 'string' && /^(?:\*|(?:\*\.)?[\w-]+(?:\.[\w-]+)*|\[[\da-f:.]+\])$/i.test(value);
}

/** Host names that requests may be for: those of the loopback interface, and those that are allowed. */
export class AllowedHosts {
  readonly #names: ReadonlySet<string>;
  /** Such as `.example.com`. */
  readonly #suffixes: readonly string[];
  readonly #allowsAll: boolean;

  constructor(patterns: readonly string[]) {
    const names = patterns.map((pattern) => pattern.toLowerCase());
    this.#names = new Set(names);
    this.#suffixes = names.filter((name) => name.startsWith('*.')).map((name) => name.slice(1));
    this.#allowsAll = this.#names.has('*');
  }

  /** @param host value of `Host` or `:authority`. The port does not matter. */
  includes(host: string): boolean {
    if (this.#allowsAll) return true;
    const name = hostNameOf(host);
    return isLoopbackName(name) || this.#names.has(name) || this.#suffixes.some((suffix) => name.endsWith(suffix));
  }
}

/** Removes the port, and the dot after a fully qualified name. IPv6 addresses keep their brackets. */
function hostNameOf(host: string): string {
  return host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
}

/** Browsers resolve `localhost` and its subdomains to the loopback interface without DNS (RFC 6761, section 6.3). */
export function isLoopbackName(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || name.endsWith('.localhost') || isLoopbackAddress(name);
}

/** Whether an IP address, as in `net.Socket`, belongs to the loopback interface. */
export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(address);
}
