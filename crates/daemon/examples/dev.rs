use std::process::ExitCode;
fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().unwrap().to_str().unwrap() {
        "__keeper" => skep_keeper::entry(args),
        "__daemon" => {
            args.next();
            match skep_daemon::run(skep_daemon::Options { home: args.next().unwrap().into(), run: None }) {
                Ok(()) => ExitCode::SUCCESS,
                Err(e) => { eprintln!("daemon: {e}"); ExitCode::FAILURE }
            }
        }
        dir => {
            let home = skep_keeper::home::Home::at(dir);
            let r = home.connect_or_start();
            eprintln!("{r:?}");
            ExitCode::SUCCESS
        }
    }
}
