import fc from 'fast-check';
import type { Client } from './model.js';
import { HOSTILE_PATHS, MODULE, ROUTES } from './routes.js';

/** Precondition of a request. The entity tag is that of the artifact that another client finds under the same key. */
export type Condition = 'none' | 'absent' | 'if-match' | 'if-none-match';

/** Step of a run. Clients and artifacts are numbers: clients that are not defined do not exist. */
export type Operation =
  | {
      readonly kind: 'read';
      readonly client: number;
      readonly route: string;
      readonly slot: number;
      readonly how: ReadKind;
    }
  | {
      readonly kind: 'conditional-read';
      readonly client: number;
      readonly peer: number;
      readonly route: string;
      readonly slot: number;
      readonly condition: 'if-match' | 'if-none-match';
    }
  | {
      readonly kind: 'upload' | 'delete';
      readonly client: number;
      readonly peer: number;
      readonly route: string;
      readonly slot: number;
      readonly condition: Condition;
      readonly blobs: readonly number[];
    }
  | {
      readonly kind: 'concurrent-uploads';
      readonly clients: readonly [number, number];
      readonly reader: number;
      readonly route: string;
      readonly slot: number;
    }
  | {
      readonly kind: 'module';
      readonly starter: number;
      readonly sender: number;
      readonly completer: number;
      readonly slot: number;
      /** Grant of the starter after the start. */
      readonly regrant: Client | undefined;
    }
  | { readonly kind: 'query'; readonly client: number }
  | { readonly kind: 'properties'; readonly client: number; readonly slot: number }
  | { readonly kind: 'collection' | 'clean'; readonly client: number }
  | { readonly kind: 'hostile'; readonly client: number; readonly path: string; readonly method: string }
  | { readonly kind: 'regrant'; readonly client: number; readonly to: Client };

export type ReadKind = 'get' | 'head' | 'range' | 'range-outside';

/** Random policy and requests. */
export interface Run {
  readonly overwrite: boolean;
  readonly clients: readonly Client[];
  readonly operations: readonly Operation[];
}

export const CLIENTS = 4;
/** Number of artifacts of each route. */
export const SLOTS = 2;

/** Scopes whose names differ little, and one that makes long keys too long. */
const SCOPE = fc.constantFrom(
  'main',
  'main',
  'main',
  'pr/7',
  'pr/7',
  'pr/8',
  'Main',
  'default',
  'a.b',
  'x'.repeat(200),
);
const LEVEL = fc.oneof(
  { weight: 8, arbitrary: fc.constant('write' as const) },
  { weight: 1, arbitrary: fc.constant('read' as const) },
  { weight: 1, arbitrary: fc.constant('none' as const) },
);
const CLIENT: fc.Arbitrary<Client> = fc.oneof(
  { weight: 1, arbitrary: LEVEL },
  {
    weight: 6,
    arbitrary: fc.record({
      level: LEVEL,
      scope: fc.option(SCOPE, { nil: undefined, freq: 8 }),
      reads: fc.option(fc.array(SCOPE, { maxLength: 4 }), { nil: undefined, freq: 6 }),
      overwrite: fc.option(fc.boolean(), { nil: undefined, freq: 2 }),
      subject: fc.option(fc.constantFrom('repo:acme/web', '\u{1f600}'.repeat(200)), { nil: undefined }),
    }),
  },
);

const client = fc.nat(CLIENTS - 1);
const slot = fc.nat(SLOTS - 1);
const uploadable = fc.constantFrom(...ROUTES.map(({ name }) => name));
const readable = fc.constantFrom(...ROUTES.map(({ name }) => name), MODULE.name);
const deletable = fc.constantFrom(...ROUTES.filter(({ isDeletable }) => isDeletable).map(({ name }) => name));
const condition = fc.constantFrom<Condition>('none', 'none', 'none', 'absent', 'if-match', 'if-none-match');
const blobs = fc.array(slot, { maxLength: 2 });
/** Kind of an operation, as a type instead of `string`. */
const kind = <Kind extends string>(value: Kind): fc.Arbitrary<Kind> => fc.constant(value);

const OPERATION: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({ kind: kind('upload'), client, peer: client, route: uploadable, slot, condition, blobs }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: kind('read'),
      client,
      route: readable,
      slot,
      how: fc.constantFrom<ReadKind>('get', 'head', 'range', 'range-outside'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: kind('conditional-read'),
      client,
      peer: client,
      route: readable,
      slot,
      condition: fc.constantFrom('if-match', 'if-none-match'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: kind('delete'), client, peer: client, route: deletable, slot, condition, blobs }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: kind('concurrent-uploads'),
      clients: fc.tuple(client, client),
      reader: client,
      route: uploadable,
      slot,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: kind('module'),
      starter: client,
      sender: client,
      completer: client,
      slot,
      regrant: fc.option(CLIENT, { nil: undefined, freq: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind('query'), client }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('properties'), client, slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('collection', 'clean'), client }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: kind('hostile'),
      client,
      path: fc.constantFrom(...HOSTILE_PATHS),
      method: fc.constantFrom('GET', 'HEAD', 'PUT', 'DELETE'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind('regrant'), client, to: CLIENT }) },
);

export const RUN: fc.Arbitrary<Run> = fc.record({
  overwrite: fc.boolean(),
  clients: fc.array(CLIENT, { minLength: CLIENTS, maxLength: CLIENTS }),
  operations: fc.array(OPERATION, { minLength: 10, maxLength: 30, size: 'max' }),
});
