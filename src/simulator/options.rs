//! The settings of the simulator.

use std::path::PathBuf;
use std::str::FromStr;

use super::action::Action;
use super::fault::NamedFault;
use super::faults::Faults;
use super::gateway_options::GatewayOptions;
use super::product::Product;
use super::rules;
use super::switches::Switches;

/// A check of one name then takes a day.
const SLOWEST: f64 = 1e-6;
/// Beyond it every check is done in the very call, which is what 0 says better.
const FASTEST: f64 = 1e6;

/// How the simulated upstream behaves.
///
/// The argument ids carry the room's name too, so that the settings can be flattened beside those
/// of other rooms.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Directory that keeps devices, applies and the ledger across restarts. Without one all is
    /// in memory and ends with the process.
    #[arg(
        id = "simulator_dir",
        long = "simulator-dir",
        env = "REGISTRAR_SIMULATOR_DIR"
    )]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// How many times faster than usual checks and creations are done. Usual is 100 ms + 0.1 ms
    /// per name for a check and 100 ms + 0.2 ms per device for a creation; 0 means at once.
    #[arg(
        id = "simulator_speed",
        long = "simulator-speed",
        env = "REGISTRAR_SIMULATOR_SPEED"
    )]
    #[arg(default_value_t = 1.0, value_name = "FACTOR")]
    pub speed: f64,

    /// Seed of the jitter: each check and creation takes up to 10 % longer than its usual time.
    #[arg(
        id = "simulator_seed",
        long = "simulator-seed",
        env = "REGISTRAR_SIMULATOR_SEED"
    )]
    #[arg(default_value_t = 0, value_name = "NUMBER")]
    pub seed: u64,

    /// Devices that exist from the beginning, each as PRODUCT/NAME. May be repeated, or hold
    /// several between commas.
    #[arg(
        id = "simulator_exists",
        long = "simulator-exists",
        env = "REGISTRAR_SIMULATOR_EXISTS"
    )]
    #[arg(value_delimiter = ',', value_name = "PRODUCT/NAME")]
    pub exists: Vec<Existing>,

    /// Calls per sliding second of an action, as ACTION=N; 0 means unlimited. May be repeated, or
    /// hold several between commas. The others keep their published quota.
    #[arg(
        id = "simulator_qps",
        long = "simulator-qps",
        env = "REGISTRAR_SIMULATOR_QPS"
    )]
    #[arg(value_delimiter = ',', value_name = "ACTION=N", value_parser = parse_qps)]
    pub qps: Vec<(Action, u32)>,

    /// What happens to the names of a check above the product's maximum.
    #[arg(
        id = "simulator_surplus",
        long = "simulator-surplus",
        env = "REGISTRAR_SIMULATOR_SURPLUS"
    )]
    #[arg(default_value = "drop", value_enum)]
    pub surplus: Surplus,

    /// Where illegal and repeated names of a check show.
    #[arg(id = "simulator_bad_names", long = "simulator-bad-names")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_BAD_NAMES",
        default_value = "at-once",
        value_enum
    )]
    pub bad_names: BadNames,

    /// Faults that are set from the beginning, each as NAME=JSON. May be repeated, or hold several
    /// between semicolons.
    #[arg(
        id = "simulator_faults",
        long = "simulator-fault",
        env = "REGISTRAR_SIMULATOR_FAULTS"
    )]
    #[arg(value_delimiter = ';', value_name = "NAME=JSON")]
    pub faults: Vec<NamedFault>,

    #[command(flatten)]
    pub gateway: GatewayOptions,
    /// What the documents leave open.
    #[command(flatten)]
    pub switches: Switches,
}

/// What happens to names above the maximum of a check. The documents say both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Surplus {
    /// They are dropped and nothing is said.
    Drop,
    /// The call fails with `iot.device.TooManyDeviceNamesPerRequest`.
    Refuse,
}

/// Where illegal and repeated names show. Both are attested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BadNames {
    /// The check itself fails, and its Data lists them.
    AtOnce,
    /// The check is queued and ends in CHECK_FAILED.
    CheckFailed,
}

/// A device that exists from the beginning; written `PRODUCT/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    pub product: String,
    pub name: String,
}

impl Options {
    /// Refuses settings that cannot be meant.
    pub fn check(&self) -> Result<(), String> {
        if self.speed != 0.0 && !(SLOWEST..=FASTEST).contains(&self.speed) {
            return Err(format!(
                "--simulator-speed must be 0 (at once) or between {SLOWEST} and {FASTEST}"
            ));
        }
        for Existing { product, name } in &self.exists {
            if Product::of_key(product).is_none() {
                return Err(format!(
                    "--simulator-exists: there is no product `{product}`"
                ));
            }
            if !rules::is_name(name) {
                return Err(format!("--simulator-exists: `{name}` is not a device name"));
            }
        }
        Faults::new(self.seed, &self.faults).map_err(|why| format!("--simulator-fault: {why}"))?;
        self.switches.check()?;
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            dir: None,
            speed: 1.0,
            seed: 0,
            exists: Vec::new(),
            qps: Vec::new(),
            surplus: Surplus::Drop,
            bad_names: BadNames::AtOnce,
            faults: Vec::new(),
            gateway: GatewayOptions::default(),
            switches: Switches::default(),
        }
    }
}

impl FromStr for Existing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (product, name) = text.split_once('/').ok_or("expected PRODUCT/NAME")?;
        Ok(Existing {
            product: product.into(),
            name: name.into(),
        })
    }
}

fn parse_qps(text: &str) -> Result<(Action, u32), String> {
    let (action, calls) = text.split_once('=').ok_or("expected ACTION=N")?;
    let calls = calls
        .parse()
        .map_err(|_| format!("`{calls}` is not a number of calls"))?;
    Ok((action.parse()?, calls))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        simulator: Options,
    }

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.simulator)
    }

    #[test]
    fn an_empty_line_means_the_default_settings() {
        let options = parse("simulate").unwrap();

        assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn lists_take_repeats_and_commas() {
        let options = parse(
            "simulate --simulator-exists a1Simulator/dev1,a1SimulatorX/dev2 \
             --simulator-exists a1Simulator/dev3 --simulator-qps QueryPageByApplyId=0 \
             --simulator-surplus refuse --simulator-bad-names check-failed",
        )
        .unwrap();

        let names: Vec<_> = options
            .exists
            .iter()
            .map(|device| device.name.as_str())
            .collect();
        assert_eq!(names, ["dev1", "dev2", "dev3"]);
        assert_eq!(options.qps, [(Action::QueryPageByApplyId, 0)]);
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn faults_have_names_of_their_own() {
        let a = r#"a={"kind":"block-account"}"#;
        let b = r#"b={"kind":"fail-creates","names":["dev1","dev2"]}"#;
        let named = |line: &str| parse(&format!("simulate --simulator-fault {line}")).unwrap();

        let options = named(&format!("{a};{b}"));

        let names: Vec<_> = options.faults.iter().map(|one| &one.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(options.check(), Ok(()));
        assert!(named(&format!("{a};{a}")).check().is_err());
        assert!(parse("simulate --simulator-fault a={}").is_err());
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        assert!(parse("simulate --simulator-qps Nothing=1").is_err());
        assert!(parse("simulate --simulator-speed -1").is_err_and(|_| true));
        assert!(
            parse("simulate --simulator-speed=-1")
                .unwrap()
                .check()
                .is_err()
        );
        assert!(
            parse("simulate --simulator-speed NaN")
                .unwrap()
                .check()
                .is_err()
        );
        assert!(
            parse("simulate --simulator-exists a1Other/dev1")
                .unwrap()
                .check()
                .is_err()
        );
        assert!(
            parse("simulate --simulator-exists a1Simulator/x")
                .unwrap()
                .check()
                .is_err()
        );
    }
}
