import { HotblobError } from '../contract/errors.js';
import { assertKey } from '../contract/store.js';
import { invalidOption, OBJECT } from '../contract/validation.js';
import { SCOPES_PREFIX } from '../keys/scope.js';
import { foldName } from '../util/fold-name.js';
import type { Operation, OperationKind, Protocol, ProtocolRequest } from './protocol.js';

/**
 * Result for a request that a protocol recognised: its operation or, if the request is invalid, its error. The error is
 * returned instead of thrown, because the protocol chooses the format of the error response.
 */
export type Recognition =
  | {
      readonly protocol: Protocol;
      readonly operation: Operation;
      /** Key in the store, with the protocol's prefix; `undefined` for an operation without a key. */
      readonly key: string | undefined;
    }
  | { readonly protocol: Protocol; readonly operation: undefined; readonly error: unknown };

/** Protocols of a handler. The first one that recognises a request handles it. */
export class MountedProtocols {
  readonly #protocols: readonly Protocol[];
  readonly #prefixes: readonly string[];

  /** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid protocol and for a duplicate name */
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
    this.#prefixes = [SCOPES_PREFIX, ...protocols.map(prefixOf).filter((prefix) => prefix !== '')];
  }

  /** Returns the first protocol that recognises the request, and its operation; `undefined` if no protocol does. */
  recognise(request: ProtocolRequest): Recognition | undefined {
    for (const protocol of this.#protocols) {
      try {
        const operation = protocol.route(request);
        if (operation === undefined) continue;
        assertOperation(operation, protocol);
        const hasKey = 'key' in operation && operation.key !== undefined;
        return { protocol, operation, key: hasKey ? this.storeKey(protocol, operation.key) : undefined };
      } catch (error) {
        return { protocol, operation: undefined, error };
      }
    }
    return undefined;
  }

  /**
   * Returns the key in the store: `key` with the protocol's prefix.
   *
   * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` for an invalid key, and for a key that belongs to another protocol
   */
  storeKey(protocol: Protocol, key: string): string {
    const prefix = prefixOf(protocol);
    const storeKey = prefix + key;
    assertKey(storeKey);
    if (prefix === '' && this.#isReserved(storeKey)) {
      throw new HotblobError(
        'ERR_HOTBLOB_INVALID_KEY',
        'key: expected a key that begins neither with the prefix of another protocol nor with that of scopes',
      );
    }
    return storeKey;
  }

  /**
   * Returns whether a key is below the prefix of another protocol or of scopes, or equals a directory of that prefix. A store of
   * files could not create a directory with the name of an artifact.
   */
  #isReserved(key: string): boolean {
    const path = `${foldName(key)}/`;
    return this.#prefixes.some((prefix) => path.startsWith(prefix) || prefix.startsWith(path));
  }
}

const KINDS: ReadonlySet<unknown> = new Set<OperationKind>(['read', 'upload', 'delete', 'answer', 'unsupported']);

/** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for a value that a protocol written in JavaScript may return */
export function assertOperation(operation: Operation, { name }: Protocol): void {
  if (KINDS.has(operation?.kind)) return;
  throw invalidOption(
    `protocols: result of '${name}'`,
    `an object whose kind is one of ${[...KINDS].join(', ')}`,
    operation,
  );
}

function prefixOf({ name, keyPrefix }: Protocol): string {
  return keyPrefix ?? `${name}/`;
}

function assertProtocol(protocol: Protocol, optionName: string): void {
  if (!OBJECT.accepts(protocol)) throw invalidOption(optionName, 'a protocol, such as nx()', protocol);
  const { name, route, keyPrefix = '' } = protocol;
  if (!(typeof name === 'string' && /^[a-z0-9][a-z0-9-]*$/.test(name))) {
    throw invalidOption(`${optionName}.name`, 'lower-case letters, digits and "-"', name);
  }
  if (typeof route !== 'function') throw invalidOption(`${optionName}.route`, 'a function', route);
  if (!(typeof keyPrefix === 'string' && /^(?:[a-z0-9][a-z0-9-]*\/)*$/.test(keyPrefix))) {
    throw invalidOption(`${optionName}.keyPrefix`, "'' or segments with a trailing slash, such as 'tool/'", keyPrefix);
  }
}
