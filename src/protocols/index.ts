export { type BazelOptions, bazel } from './bazel/bazel.js';
export { ccache } from './ccache.js';
export { gradle } from './gradle.js';
export { metro } from './metro.js';
export { nx } from './nx.js';
export type { PathOptions } from './paths.js';
export { plain } from './plain.js';
export {
  type AnswerOperation,
  type ArtifactDescription,
  type DeleteOperation,
  type FailureStatus,
  jsonReply,
  type Operation,
  type Protocol,
  type ProtocolArtifacts,
  type ProtocolPutResult,
  type ProtocolRequest,
  type ReadOperation,
  type Reply,
  type ReplyBody,
  type ScopeArtifacts,
  type UnsupportedOperation,
  type UploadDigest,
  type UploadOperation,
} from './protocol.js';
export { uploadMetadata } from './request-metadata.js';
export { rush } from './rush.js';
export { sccache } from './sccache.js';
export { type TuistOptions, tuist } from './tuist/tuist.js';
export { turborepo } from './turborepo.js';
