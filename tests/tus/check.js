// tus-js-client, speaking the IETF draft of resumable uploads, against a real qfs-server that is killed half-way.
//   node check.js QFS_SERVER
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Upload } from 'tus-js-client'

const [program] = process.argv.slice(2)
const home = mkdtempSync(join(tmpdir(), 'qfs-tus-'))
const root = join(home, 'root')
mkdirSync(root)
let server

// Resolves with the address once it listens.
function start(port) {
  server = spawn(program, ['--port', port, '--root', root, '--certs', join(home, 'certs'), '--allow', 'read,write'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return new Promise((resolve, reject) => {
    let said = ''
    server.stdout.on('data', (text) => {
      said += text
      const found = /^listening on (\S+)$/m.exec(said)
      if (found) resolve(found[1])
    })
    server.on('exit', () => reject(new Error(`the server ended: ${said}`)))
  })
}

async function killAndRestart(port) {
  const ended = new Promise((resolve) => server.once('exit', resolve))
  server.kill('SIGKILL')
  await ended
  await start(port)
}

// What was asked and answered, in order.
function upload(url, content, { killAt, port }) {
  const seen = []
  let restarted = killAt === 0
  return new Promise((resolve, reject) => {
    new Upload(content, {
      endpoint: url,
      protocol: 'ietf-draft-05',
      chunkSize: 4_000_000,
      retryDelays: [100, 300, 1000, 3000],
      onProgress: (sent) => {
        if (restarted || sent < killAt) return
        restarted = true
        killAndRestart(port).catch(reject)
      },
      onAfterResponse: (request, response) => {
        seen.push(`${request.getMethod()} ${response.getStatus()}`)
      },
      onError: reject,
      onSuccess: () => resolve(seen),
    }).start()
  })
}

const sum = (bytes) => createHash('sha256').update(bytes).digest('hex')
function expect(what, holds) {
  if (!holds) throw new Error(what)
}

try {
  const address = await start('0')
  const port = address.split(':').at(-1)
  const content = randomBytes(22_000_000)
  for (const [name, killAt] of [['whole.bin', 0], ['cut off.bin', 9_000_000]]) {
    const seen = await upload(`https://${address}/${encodeURIComponent(name)}`, content, { killAt, port })
    console.log(`${name}: ${seen.join(', ')}`)
    expect(`${name} is not what was sent`, sum(readFileSync(join(root, name))) === sum(content))
    const answers = seen.filter((answer) => answer === 'PATCH 204').length
    expect(`${name} began anew: ${seen}`, answers <= 7 && seen[0] === 'POST 201')
    expect(`${name} was cut off when it should not have been, or was not: ${seen}`, seen.includes('HEAD 204') === killAt > 0)
  }
  expect('something was left behind', readdirSync(root).length === 2)
  console.log('2 passed, 0 failed')
} finally {
  server.kill('SIGKILL')
  rmSync(home, { recursive: true })
}
process.exit(0)
