'use strict'
// The control socket: HTTP with JSON over a Unix socket, by node:http; and the skep program, where it has to be run.

const { execFile, spawn, spawnSync } = require('node:child_process')
const http = require('node:http')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { once } = require('node:events')

/** The longest that skep may take to come up or to end. */
const PATIENCE_MS = 60_000
/** Output of the program that is kept: an error is a few lines, settings a few more. */
const OUTPUT_BYTES_MAX = 16 << 20

/** Where skep lives: what was said, then PM2's variable, then skep's own rules (crates/keeper/src/home/mod.rs). */
function homeOf (given) {
  const env = process.env
  if (given) return path.resolve(given)
  if (env.PM2_HOME && !env.SKEP_HOME) return path.resolve(env.PM2_HOME)
  if (env.SKEP_HOME) return path.resolve(env.SKEP_HOME)
  if (env.XDG_STATE_HOME && path.isAbsolute(env.XDG_STATE_HOME)) return path.join(env.XDG_STATE_HOME, 'skep')
  return path.join(os.homedir(), '.skep')
}

class Control {
  #agent = new http.Agent({ keepAlive: false })
  #open = new Set()

  constructor ({ home } = {}) {
    this.home = homeOf(home)
    this.socketPath = path.join(this.home, 'skep.sock')
  }

  /** The program: SKEP_BIN, else `skep` of PATH. */
  get program () {
    return process.env.SKEP_BIN || 'skep'
  }

  async isRunning () {
    const socket = net.connect(this.socketPath)
    try {
      await once(socket, 'connect')
      return true
    } catch {
      return false
    } finally {
      socket.destroy()
    }
  }

  /** Starts skep if it does not run; whether it did not. */
  async ensure () {
    if (await this.isRunning()) return false
    await this.run(['resurrect'])
    return true
  }

  async get (target) {
    return JSON.parse(await this.#text('GET', target))
  }

  async post (target, body) {
    await this.#text('POST', target, body)
    return { success: true }
  }

  /** A command whose answer is told line by line; rejects if one of its apps failed. */
  async command (target, body) {
    let failed
    for await (const line of this.lines('POST', target, body)) {
      if (line.type === 'failed') failed ??= line.error
    }
    if (failed) throw new Error(failed.message)
  }

  /** The lines of a stream. Leaving the loop ends it. */
  async * lines (method, target, body, onRequest) {
    const response = await this.#send(method, target, body, onRequest)
    let rest = ''
    response.setEncoding('utf8')
    try {
      for await (const chunk of response) {
        const lines = (rest + chunk).split('\n')
        rest = lines.pop()
        for (const line of lines) if (line !== '') yield JSON.parse(line)
      }
    } finally {
      response.destroy()
    }
  }

  /** Stops all of skep and waits until its socket is gone. */
  async stop () {
    await this.run(['kill'])
  }

  /** The same while this process ends and can wait for nothing. */
  stopAtExit () {
    spawnSync(this.program, ['kill'], { env: this.#env(), stdio: 'ignore', timeout: PATIENCE_MS })
  }

  /** Runs a command in PM2's words and manner; its standard output, or an error with its own words. */
  pm2 (words, { input = '', cwd } = {}) {
    const [verb] = words
    const child = spawn(this.program, ['__pm2', ...words], { cwd, env: this.#env(), timeout: PATIENCE_MS })
    const texts = [child.stdout, child.stderr].map(async stream => {
      stream.setEncoding('utf8')
      let text = ''
      for await (const chunk of stream) text = (text + chunk).slice(-OUTPUT_BYTES_MAX)
      return text
    })
    // A program that does not read to the end says why by itself.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    return new Promise((resolve, reject) => {
      child.once('error', error => reject(this.#missing(error)))
      child.once('close', async code => {
        const [stdout, stderr] = await Promise.all(texts)
        if (code === 0) return resolve(stdout)
        const said = /\[PM2\]\[(?:ERROR|WARN)\] ([^]*)/.exec(stderr)?.[1] ?? stderr
        // What is described here comes through standard input, which its author knows nothing of.
        const reason = said.trim().replace(/^stdin: /, '')
        reject(Object.assign(new Error(reason || `pm2 ${verb} has failed`), { stderr }))
      })
    })
  }

  #env (more) {
    const { PM2_SILENT: silent, ...env } = process.env
    return { ...env, ...more, PM2_HOME: this.home, SKEP_HOME: this.home, NO_COLOR: '1' }
  }

  #missing (error) {
    return error.code === 'ENOENT'
      ? new Error(`${this.program} was not found: put skep into PATH, or name it in SKEP_BIN`)
      : error
  }

  /** Runs `skep …`; its standard output, or an error with its own words. */
  run (words, { env, cwd } = {}) {
    const options = {
      cwd,
      env: this.#env(env),
      maxBuffer: OUTPUT_BYTES_MAX,
      timeout: PATIENCE_MS
    }
    return new Promise((resolve, reject) => {
      execFile(this.program, words, options, (error, stdout, stderr) => {
        if (!error) return resolve(stdout)
        if (error.code === 'ENOENT') return reject(this.#missing(error))
        const said = stderr.split('\n').find(line => line.startsWith('error:'))
        reject(Object.assign(new Error(said ? said.slice(6).trim() : stderr.trim() || error.message), { stderr }))
      })
    })
  }

  close () {
    for (const request of this.#open) request.destroy()
    this.#agent.destroy()
  }

  async #text (method, target, body) {
    const response = await this.#send(method, target, body)
    response.setEncoding('utf8')
    let text = ''
    for await (const chunk of response) text += chunk
    return text
  }

  async #send (method, target, body, onRequest) {
    const payload = body === undefined ? '' : JSON.stringify(body)
    const request = http.request({
      agent: this.#agent,
      socketPath: this.socketPath,
      method,
      path: target,
      headers: { host: 'skep', 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }
    })
    onRequest?.(request)
    this.#open.add(request)
    request.once('close', () => this.#open.delete(request))
    request.end(payload)
    const [response] = await once(request, 'response')
    if (response.statusCode < 300) return response
    response.setEncoding('utf8')
    let text = ''
    for await (const chunk of response) text += chunk
    let error
    try {
      error = JSON.parse(text).error
    } catch {
      error = { message: `skep answered ${response.statusCode}` }
    }
    throw Object.assign(new Error(error.message), { code: error.code, hint: error.hint })
  }
}

module.exports = { Control, homeOf }
