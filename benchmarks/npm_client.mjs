/* npm `chatgpt`, measured as `peer_clients.py` measures: node npm_client.mjs FOLDER URL EVENTS SECONDS

   FOLDER is where `npm install chatgpt` was run. The question and the steps are those of `peer_clients.py`, but for the time
   to get warm: its figures fall for about two seconds of work, while V8 compiles. */

import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const KEY = 'sk-loopback-0123456789abcdef'
const QUESTION = 'What is a monad?'
const TRIPS = 20
const WARM_UP = 8 // times as long as what is measured
const [folder, url, events, seconds] = process.argv.slice(2)

function now() {
  const { user, system } = process.cpuUsage()
  return [(user + system) / 1e6, performance.now() / 1e3]
}

function since(begin, count = 1) {
  const [cpu, wall] = now()
  return { cpu: (cpu - begin[0]) / count, wall: (wall - begin[1]) / count }
}

async function cost(work, pieces, limit = Number(seconds)) {
  const begin = now()
  let times = 0
  let text
  while (!times || now()[0] - begin[0] < limit) {
    text = await work()
    times += 1
  }
  return [since(begin, times * pieces), text]
}

function peakMemory() {
  try {
    const status = readFileSync('/proc/self/status', 'ascii')
    return { bytes: Number(/^VmHWM:\s*(\d+)/m.exec(status)[1]) * 1024 }
  } catch {
    return {}
  }
}

function report(figures, texts) {
  process.stdout.write(JSON.stringify({ figures, texts }) + '\n')
}

const begin = now()
const { ChatGPTAPI } = await import(pathToFileURL(`${folder}/node_modules/chatgpt/build/index.js`))
const client = new ChatGPTAPI({ apiKey: KEY, apiBaseUrl: url })
const made = since(begin)

async function ask(times) {
  let text
  for (let time = 0; time < times; time += 1) text = (await client.sendMessage(QUESTION)).text
  return text
}

async function stream() {
  const parts = []
  await client.sendMessage(QUESTION, { onProgress: (part) => parts.push(part.delta ?? '') })
  return parts.join('')
}

const first = await ask(1)
report({ make: made, first_reply: { cpu: now()[0] }, memory: peakMemory() }, [first])
await cost(() => ask(TRIPS), TRIPS, WARM_UP * Number(seconds))
await cost(stream, Number(events), WARM_UP * Number(seconds))
const [streamed, text] = await cost(stream, Number(events))
const [asked, reply] = await cost(() => ask(TRIPS), TRIPS)
report({ stream_event: streamed, round_trip: asked }, [text, reply])
