export { plain } from './plain.js';
export {
  type AnswerOperation,
  type ArtifactDescription,
  type DeleteOperation,
  jsonReply,
  type Operation,
  type Protocol,
  type ProtocolArtifacts,
  type ProtocolRequest,
  type ReadOperation,
  type Reply,
  type ReplyBody,
  type UnsupportedOperation,
  type UploadOperation,
} from './protocol.js';
export { uploadMetadata } from './upload-metadata.js';
