// What skep runs here, in PM2's form. `skep start` starts it, `skep apply` brings changes into force.
module.exports = {
  apps: [
    {
      name: 'web',
      script: 'app.js',
      // One worker a processor, all on one port.
      instances: 'max',
      env: {
        NODE_ENV: 'development',
        PORT: 3000,
      },
      // Chosen with `--env production`.
      env_production: {
        NODE_ENV: 'production',
      },
    },
  ],
};
