/* npm `chatgpt`, measured as `calls.py` and `prompts.py` measure: node npm_client.mjs FOLDER SCENARIO ORIGIN SIZES

   FOLDER is where `npm install chatgpt` was run. The question and the steps are those of the files in Python, but for the time
   to get warm: its figures fall for about two seconds of work, while V8 compiles. A long thread is measured once, cold: it
   takes long enough for V8, and keeps no counts. */

import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const KEY = 'sk-loopback-0123456789abcdef'
const QUESTION = 'What is a monad?'
const TRIPS = 20
const WARM_UP = 8 // times as long as what is measured
const [folder, scenario, origin, given] = process.argv.slice(2)
const sizes = JSON.parse(given)

function now() {
  const { user, system } = process.cpuUsage()
  return [(user + system) / 1e6, performance.now() / 1e3]
}

function since(begin, count = 1) {
  const [cpu, wall] = now()
  return { cpu: (cpu - begin[0]) / count, wall: (wall - begin[1]) / count }
}

async function cost(work, pieces, limit = sizes.seconds) {
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

async function load() {
  return (await import(pathToFileURL(`${folder}/node_modules/chatgpt/build/index.js`))).ChatGPTAPI
}

async function calls() {
  const begin = now()
  const ChatGPTAPI = await load()
  const client = new ChatGPTAPI({ apiKey: KEY, apiBaseUrl: `${origin}/${sizes.events}/1/v1` })
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
  await cost(() => ask(TRIPS), TRIPS, WARM_UP * sizes.seconds)
  await cost(stream, sizes.events, WARM_UP * sizes.seconds)
  const [streamed, text] = await cost(stream, sizes.events)
  const [asked, reply] = await cost(() => ask(TRIPS), TRIPS)
  report({ stream_event: streamed, round_trip: asked }, [text, reply])
}

async function prompts() {
  const { sentence, question, window } = sizes.thread
  const ChatGPTAPI = await load()
  const thread = new Map()
  for (let number = 0; number < sizes.messages; number += 1) {
    thread.set(`m${number}`, {
      id: `m${number}`,
      text: sentence.replace('{}', String(number)),
      role: number % 2 ? 'assistant' : 'user',
      parentMessageId: number ? `m${number - 1}` : undefined
    })
  }
  let sent
  const client = new ChatGPTAPI({
    apiKey: KEY,
    apiBaseUrl: `${origin}/1/1/v1`,
    maxModelTokens: window * sizes.messages,
    maxResponseTokens: sizes.messages,
    getMessageById: async (id) => thread.get(id),
    upsertMessage: async () => {},
    fetch: (url, options) => {
      sent = JSON.parse(options.body).messages
      return fetch(url, options)
    }
  })
  await client.sendMessage(question) // connects, and loads what there is
  const begin = now()
  await client.sendMessage(question, { parentMessageId: `m${sizes.messages - 1}` })
  const built = since(begin)
  report({ prompt_cold: built }, [sent.slice(1).map((message) => message.content).join('\n')])
}

await (scenario === 'calls' ? calls() : prompts())
