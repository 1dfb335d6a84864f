mod bell; mod calls; mod memory; mod support; mod watching;
use support::{bare, stage::Stage, table::Row};
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if args.first().is_some_and(|a| a == bare::ARGUMENT) { return bare::serve(args.get(1).cloned()).await; }
        let mut stage = Stage::new()?;
        let wanted = |id: &str| args.iter().any(|a| a == id);
        let reps = std::env::var("REPS").ok().and_then(|r| r.parse().ok()).unwrap_or(1);
        let sizes: Vec<usize> = std::env::var("SIZES").unwrap_or("5000,1000,100".into()).split(',').map(|s| s.parse().unwrap()).collect();
        let say = |rows: Vec<Row>| for r in rows { let aim = match r.aim { support::table::Aim::AtLeast(x) => format!(">={x}"), support::table::Aim::AtMost(x) => format!("<={x}"), support::table::Aim::None => "".into() };
            println!("{:4} {:60} {:28} {:60} {:8.3} {}", r.id, r.what, r.ours, r.against, r.ratio, aim); };
        if wanted("P6") { say(watching::run(&mut stage, reps, &sizes, 200).await?); }
        if wanted("P7") { say(bell::run(&mut stage, reps).await?); }
        if wanted("P8") { say(calls::submissions(&mut stage, reps).await?); }
        if wanted("P9") { say(calls::readings(&mut stage, reps).await?); }
        if wanted("P11") { say(memory::run(&mut stage, reps, 1_000_000, 10_000).await?); }
        Ok(())
    })
}
