// `require('skep/pm2')` as programs that were written for npm's `pm2` use it. Compiled strictly, never run.
import pm2 = require('skep/pm2')
import { promisify } from 'node:util'

const app: pm2.StartOptions = {
  script: 'app.js', name: 'web', args: ['--port', '3000'], instances: 'max', exec_mode: 'cluster', env: { PORT: 3000 },
  watch: ['src'], ignore_watch: [/\.log$/, 'tmp'], max_memory_restart: '200M', wait_ready: true, balance: 'shared',
}
const options: pm2.CommandOptions = { env: 'production', only: ['web'], updateEnv: true, parallel: 2 }
const changed: pm2.ChangeOptions = { name: 'shop', instances: 4, updateEnv: true }
const target: pm2.Target = 'web'
const packet: pm2.Packet = { type: 'process:msg', topic: 'greeting', data: { hello: true } }
const failed: pm2.Callback<unknown> = (error) => { if (error) throw error }

pm2.connect((error) => {
  if (error !== null) process.exit(2)
  pm2.start(app, (error, started) => {
    if (error) throw error
    const first: pm2.Proc | pm2.ProcessDescription | undefined = started[0]
    console.log(first?.name, first?.pm2_env.status)
  })
  pm2.start('ecosystem.config.js', options, failed)
  pm2.list((_error, list: pm2.ProcessDescription[]) => {
    const env: pm2.Pm2Env | undefined = list[0]?.pm2_env
    const status: pm2.ProcessStatus | undefined = env?.status
    console.log(list.map((each) => each.monit.cpu + each.pid), status === 'online', env?.axm_monitor['Requests']?.value)
  })
  pm2.restart(target, failed)
  pm2.restart(target, changed, failed)
  pm2.reload(0, { updateEnv: true }, failed)
  pm2.sendDataToProcessId(0, packet, failed)
  pm2.sendDataToProcessId({ ...packet, id: 0 }, failed)
  pm2.launchBus((error, bus: pm2.Bus) => {
    if (error) return
    bus.on('log:out', ({ process, data, at }) => {
      const who: pm2.BusProcess = process
      console.log(who.name, data.trim(), new Date(at))
    })
    bus.on('process:event', ({ event, manually, process }) => console.log(event, manually, process.exit_code))
    bus.on('my:topic', (packet) => console.log(packet))
    const heard: keyof pm2.BusEvents = 'process:msg'
    bus.once(heard, () => bus.close())
  })
  pm2.disconnect()
})

export async function promised (): Promise<number[]> {
  await pm2.connect(true)
  const described = await pm2.describe(target)
  const stopped: pm2.Proc[] = [...await pm2.stop('web'), ...await pm2.scale('web', '+1'), ...await pm2.reset('all')]
  await pm2.gracefulReload('web')
  const replies: unknown[] = await pm2.trigger('web', 'gc', { deep: true })
  await pm2.sendSignalToProcessName('SIGUSR2', 'web')
  await pm2.sendSignalToProcessId(12, 0)
  await pm2.sendLineToStdin(0, 'line')
  await pm2.dump()
  await pm2.resurrect()
  await pm2.flush()
  await pm2.reloadLogs()
  await pm2.set('a:b', 1)
  await pm2.unset('a:b')
  const { msg } = await pm2.ping()
  console.log(described.length, stopped.length, replies, msg, pm2.pm2_home, await pm2.getVersion(), await pm2.get(), await pm2.env(0))
  const other = new pm2.custom({ pm2_home: '/srv/pm2' })
  other.on('error', () => undefined)
  await promisify((done: pm2.Callback<unknown>) => other.update(done))()
  await other.delete('all')
  await other.killDaemon()
  return [...await pm2.getProcessIdByName('web'), ...await pm2.getPID('web')]
}

// @ts-expect-error: a misspelt attribute
pm2.start({ script: 'a.js', max_memory: '1G' })
// @ts-expect-error: no such mode
pm2.start({ script: 'a.js', exec_mode: 'threads' })
