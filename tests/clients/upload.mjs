// An upload by tus-js-client in Node.js; prints its URL.
//   NODE_EXTRA_CA_CERTS=ca.pem node upload.mjs https://host/files/ FILE [PROTOCOL [CHUNK_BYTES [RETRY_DELAY_MS...]]]
import { createReadStream, readFileSync } from 'node:fs'
import { Upload } from 'tus-js-client'

const [endpoint, file, protocol = 'tus-v1', chunk = 'Infinity', ...delays] = process.argv.slice(2)
// A stream that resumes never says that its last piece is the last (4.3.1), which the IETF protocols need: a Buffer does.
const content = protocol === 'tus-v1' ? createReadStream(file) : readFileSync(file)
const upload = new Upload(content, {
  endpoint,
  protocol,
  chunkSize: Number(chunk),
  retryDelays: delays.length ? delays.map(Number) : [0, 500, 1000, 3000, 5000],
  // While it has an endpoint, one 503 to the question for the offset makes it begin again from the first byte.
  onUploadUrlAvailable: () => { upload.options.endpoint = null },
  onError: (error) => { console.error(String(error)); process.exit(1) },
  onSuccess: () => console.log(upload.url),
})
upload.start()
