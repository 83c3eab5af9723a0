export { type AnyAccessOptions, anyAccess } from './access/any-access.js';
export type { Credentials } from './access/credentials.js';
export type { AccessGrant, AccessLevel } from './access/grant.js';
export type { AccessDecision, AccessOperation, AccessPolicy, AccessRequest } from './access/policy.js';
export { type StaticTokensOptions, staticTokens } from './access/static-tokens.js';
export { type TokenFileOptions, type TokenFilePolicy, tokenFile } from './access/token-file.js';
export type { AccessToken } from './access/token-set.js';
export type {
  Artifact,
  ArtifactMetadata,
  ByteRange,
  BytesArtifact,
  FileArtifact,
  StreamArtifact,
  UploadMetadata,
} from './contract/artifact.js';
export { type ErrorCode, HotblobError } from './contract/errors.js';
export type { ClientCertificate, Exchange, ResponseHeaders } from './contract/exchange.js';
export { type FileArtifactOptions, fileArtifact } from './contract/file-artifact.js';
export type { ArtifactFilter, PurgeFilter, PurgeOptions, PurgeProgress, PurgeResult } from './contract/purge.js';
export { SendError } from './contract/send-error.js';
export {
  assertKey,
  type GetOptions,
  type ListOptions,
  MAX_KEY_BYTES,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type Store,
  type StoreEntry,
  type StoreStats,
  type UpstreamCount,
} from './contract/store.js';
export { createHandler, type ExchangeHandler, type Handler } from './handler/handler.js';
export type { HandlerOptions, SenderOptions } from './handler/options.js';
export type { ResponseReport } from './handler/response-record.js';
export { createRouteSender, type Sender, type SendResult } from './handler/sender.js';
export type { HandlerStats, MemoryStats, ResponseCount, SizeClassLatency, StatsSource } from './handler/stats.js';
export type { TrafficCount } from './handler/traffic.js';
export type { WriterCount } from './handler/writers.js';
export { purgeMatcher } from './keys/purge-matcher.js';
export {
  type FixedMemoryPressureOptions,
  fixedMemoryPressure,
  type MemoryPressureLevel,
  type MemoryPressureProvider,
  type SystemMemoryPressure,
  type SystemMemoryPressureOptions,
  systemMemoryPressure,
} from './memory/pressure.js';
export type { MapRefusal } from './page-cache/open-file.js';
export { releaseFile } from './page-cache/release-file.js';
export type { BytesBySource, Count, SourceName, UnmappedReason } from './send/tally.js';
export {
  type DirectoryStore,
  type DirectoryStoreOptions,
  type DirectoryStoreReader,
  directoryStore,
} from './stores/directory/store.js';
export { type MemoryStore, type MemoryStoreOptions, memoryStore } from './stores/memory.js';
export type { RetentionRule } from './stores/retention/rules.js';
export type { BodyFault } from './stores/segments/body-check.js';
export {
  type SegmentStore,
  type SegmentStoreOptions,
  type SegmentStoreReader,
  segmentStore,
} from './stores/segments/store.js';
export { type SegmentFinding, type SegmentSummary, verifySegments } from './stores/segments/verify.js';
export type { BreakerState } from './stores/tiered/breaker.js';
export { type TieredStats, type TieredStore, type TieredStoreOptions, tieredStore } from './stores/tiered/store.js';
export type { CertificateAuthorities } from './stores/upstream/options.js';
export { type UpstreamStore, type UpstreamStoreOptions, upstreamStore } from './stores/upstream/store.js';
export { type HistogramSnapshot, LATENCY_BOUNDS_SECONDS } from './util/histogram.js';
export type { EventReport } from './util/report-event.js';
