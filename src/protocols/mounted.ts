import { HotblobError } from '../contract/errors.js';
import { assertKey } from '../contract/store.js';
import { invalidOption, OBJECT } from '../contract/validation.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

/** What is known of a request once a protocol has looked at it. */
export interface Recognition {
  /** The one that was asked last: it has recognised the request, or has found it wrong. */
  protocol: Protocol | undefined;
  /** The key in the store. */
  key: string | undefined;
}

/** The protocols of a handler, in the order in which they are asked. */
export class MountedProtocols {
  readonly #protocols: readonly Protocol[];
  readonly #prefixes: readonly string[];

  /** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for what is no protocol, and for a name that two have */
  constructor(protocols: readonly Protocol[]) {
    const names = new Set<string>();
    for (const [index, protocol] of protocols.entries()) {
      assertProtocol(protocol, `protocols[${index}]`);
      if (names.has(protocol.name)) {
        throw invalidOption(`protocols[${index}].name`, 'a name that no other protocol has', protocol.name);
      }
      names.add(protocol.name);
    }
    this.#protocols = [...protocols];
    this.#prefixes = protocols.map(prefixOf).filter((prefix) => prefix !== '');
  }

  /**
   * What the request asks for; undefined where no protocol knows it.
   *
   * @throws HotblobError for a request that is not valid, and for a key that is none
   */
  recognise(request: ProtocolRequest, recognition: Recognition): Operation | undefined {
    for (const protocol of this.#protocols) {
      recognition.protocol = protocol;
      const operation = protocol.route(request);
      if (operation === undefined) continue;
      if ('key' in operation && operation.key !== undefined) {
        recognition.key = this.storeKey(protocol, operation.key);
      }
      return operation;
    }
    recognition.protocol = undefined;
    return undefined;
  }

  /** @throws HotblobError for a key that is none, or one that another protocol would make */
  storeKey(protocol: Protocol, key: string): string {
    const prefix = prefixOf(protocol);
    const whole = prefix + key;
    assertKey(whole);
    if (prefix === '' && this.#isReserved(whole)) {
      throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'the key is one of another protocol');
    }
    return whole;
  }

  /**
   * Whether a key stands below another protocol's prefix, or in its way: a file where directories are to be. Cases do not
   * count, because some file systems do not tell them apart.
   */
  #isReserved(key: string): boolean {
    const path = `${key.toLowerCase()}/`;
    return this.#prefixes.some((prefix) => path.startsWith(prefix) || prefix.startsWith(path));
  }
}

function prefixOf({ name, keyPrefix }: Protocol): string {
  return keyPrefix ?? `${name}/`;
}

function assertProtocol(protocol: Protocol, where: string): void {
  if (!OBJECT.accepts(protocol)) throw invalidOption(where, 'a protocol', protocol);
  const { name, route, keyPrefix = '' } = protocol;
  if (!(typeof name === 'string' && /^[a-z0-9][a-z0-9-]*$/.test(name))) {
    throw invalidOption(`${where}.name`, 'lower-case letters, digits and "-"', name);
  }
  if (typeof route !== 'function') throw invalidOption(`${where}.route`, 'a function', route);
  if (!(typeof keyPrefix === 'string' && /^(?:[a-z0-9][a-z0-9-]*\/)*$/.test(keyPrefix))) {
    throw invalidOption(`${where}.keyPrefix`, "'', or segments like a name, each with a slash behind it", keyPrefix);
  }
}
