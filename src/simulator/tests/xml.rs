//! Answers in XML, held against the samples of the help pages.

use super::super::element::Element;
use super::rpc::Rpc;
use super::*;

impl Element {
    fn shape(mut self) -> Element {
        self.text.clear();
        self.children = self.children.into_iter().map(Element::shape).collect();
        self.children.sort();
        self
    }

    pub(super) fn child(&self, name: &str) -> &Element {
        let mut children = self.children.iter();
        children.find(|child| child.name == name).expect(name)
    }
}

async fn answer(server: &Server, query: &str, body: &str) -> (u16, Element) {
    let rpc = Rpc {
        body,
        ..Rpc::new(query)
    };
    let response = rpc.send(server).await;
    let content_type = &response.headers()["content-type"];
    assert_eq!(content_type, "text/xml;charset=utf-8");
    let status = response.status().as_u16();
    (status, Element::parse(&response.text().await.unwrap()))
}

#[tokio::test]
async fn each_answer_of_the_flow_has_the_structure_of_its_sample() {
    let server = Server::instant().await;
    let applied = |root: &str| {
        format!(
            "<{root}><Data><ApplyId>1234567</ApplyId></Data>\
             <RequestId>E976E36B</RequestId><Success>true</Success></{root}>"
        )
    };
    let status = "<?xml version='1.0' encoding='utf-8'?><QueryBatchCheckDeviceNamesStatusResponse>
            <RequestId>57b144cf</RequestId>
            <Success>true</Success>
            <Data>
                <Status>CREATE_SUCCESS</Status>
                <ValidList></ValidList>
                <InvalidList></InvalidList>
            </Data>
        </QueryBatchCheckDeviceNamesStatusResponse>";
    let row = "<ApplyDeviceInfo><DeviceId>v</DeviceId><DeviceName>n</DeviceName>\
        <DeviceSecret>t</DeviceSecret><IotId>v</IotId></ApplyDeviceInfo>";
    let page = format!(
        "<QueryPageByApplyIdResponse><PageCount>1</PageCount>\
         <ApplyDeviceList>{row}{row}</ApplyDeviceList><Page>1</Page><PageSize>10</PageSize>\
         <RequestId>762F7AAD</RequestId><Success>true</Success><Total>2</Total>\
         </QueryPageByApplyIdResponse>"
    );
    let names = "DeviceName.1=dev1&DeviceName.2=dev2";
    let flow = [
        (
            "BatchCheckDeviceNames",
            names,
            applied("BatchCheckDeviceNamesResponse"),
        ),
        (
            "BatchRegisterDeviceWithApplyId",
            "",
            applied("BatchRegisterDeviceWithApplyIdResponse"),
        ),
        ("QueryBatchRegisterDeviceStatus", "", status.into()),
        ("QueryPageByApplyId", "", page),
    ];

    for (action, body, sample) in flow {
        let query = format!("Action={action}&ProductKey=a1Simulator&ApplyId=1&Format=XML");
        let (status, answered) = answer(&server, &query, body).await;
        assert_eq!(status, 200);
        assert_eq!(answered.child("Success").text, "true");
        assert_eq!(answered.shape(), Element::parse(&sample).shape());
    }
    server.stop().await;
}

/// Empty elements of these names.
fn elements(names: &str) -> String {
    let names = names.split(' ');
    names.map(|name| format!("<{name}></{name}>")).collect()
}

/// There are no samples of these in XML, so this is their documented shape by the rule of the others:
/// a wrapper is a parent, and the items of a list repeat its inner name.
#[tokio::test]
async fn imports_and_details_have_their_shapes_by_the_rule_of_the_samples() {
    let server = Server::instant().await;
    let flawed = "DeviceList.1.DeviceName=x*&DeviceList.1.DeviceSecret=s&DeviceList.1.Sn=SN&\
                  DeviceList.2.DeviceName=dev2&DeviceList.2.DeviceSecret=se%2Fc&DeviceList.2.Sn=SN&\
                  DeviceList.3.DeviceName=dev3&DeviceList.3.DeviceSecret=s&DeviceList.3.Sn=S-N&\
                  DeviceList.4.DeviceName=twice&DeviceList.4.DeviceSecret=s&DeviceList.4.Sn=SN&\
                  DeviceList.5.DeviceName=twice&DeviceList.5.DeviceSecret=s&DeviceList.5.Sn=SN";
    let good = "DeviceList.1.DeviceName=dev1&DeviceList.1.DeviceSecret=s&DeviceList.1.Sn=SN&\
                DeviceList.2.DeviceName=dev2&DeviceList.2.DeviceSecret=s&DeviceList.2.Sn=SN";
    let failed = elements("RequestId Success Code ErrorMessage");
    let done = elements("RequestId Success");
    let wrong = elements("DeviceName DeviceSecret Sn ErrorMsg");
    let wrong = format!("<InvalidDetailList>{wrong}</InvalidDetailList>").repeat(5);
    let bare = elements(
        "InvalidDeviceNameList InvalidDeviceSecretList InvalidSnList RepeatedDeviceNameList",
    );
    let wrapped: String = [
        ("InvalidDeviceNameList", "invalidDeviceName"),
        ("InvalidDeviceSecretList", "invalidDeviceSecret"),
        ("InvalidSnList", "invalidSn"),
        ("RepeatedDeviceNameList", "repeatedDeviceName"),
    ]
    .map(|(list, item)| format!("<{list}>{}</{list}>", elements(item)))
    .concat();
    let row = elements("DeviceName DeviceSecret ProductKey Sn");
    let row = format!("<device>{row}</device>");
    let detail = elements(
        "DeviceName DeviceSecret GmtActive GmtCreate IotId Nickname NodeType ProductKey \
         ProductName Region Status UtcActive UtcCreate",
    );
    let alone = elements("GmtOnline UtcOnline Owner");
    let page = elements("PageNo PageSize TotalPage ProductKey");
    let cases = [
        (
            "BatchCheckImportDevice",
            flawed,
            format!("{failed}<Data>{bare}{wrong}</Data>"),
        ),
        (
            "BatchImportDevice",
            flawed,
            format!("{failed}<Data>{wrapped}<InvalidDetailList>{wrong}</InvalidDetailList></Data>"),
        ),
        ("BatchCheckImportDevice", good, done.clone()),
        (
            "BatchImportDevice",
            good,
            format!("{done}<Data>{}</Data>", elements("ApplyId")),
        ),
        (
            "QueryImportedDeviceByApplyId",
            "",
            format!("{done}{page}<DeviceList>{row}{row}</DeviceList>"),
        ),
        (
            "QueryDeviceDetail",
            "DeviceName=dev1",
            format!("{done}<Data>{detail}{alone}</Data>"),
        ),
        (
            "BatchQueryDeviceDetail",
            "DeviceName.1=dev1&DeviceName.2=dev2",
            format!("{done}<Data><Data>{detail}</Data><Data>{detail}</Data></Data>"),
        ),
        ("DeleteDevice", "DeviceName=dev1", done.clone()),
    ];

    for (action, body, inside) in cases {
        let query = format!("Action={action}&ProductKey=a1Simulator&ApplyId=1&Format=XML");
        let (status, answered) = answer(&server, &query, body).await;
        assert_eq!(status, 200);
        let expected = format!("<{action}Response>{inside}</{action}Response>");
        assert_eq!(answered.shape(), Element::parse(&expected).shape());
    }
    server.stop().await;
}

#[tokio::test]
async fn lists_of_names_repeat_their_inner_name_and_text_is_escaped() {
    let server = Server::instant().await;
    let query = "Action=BatchCheckDeviceNames&ProductKey=a1Simulator";

    let bad = "DeviceName.1=a%26%3Cb%3E&DeviceName.2=%01%01%01%01&DeviceName.3=good";
    let (status, refused) = answer(&server, query, bad).await;

    assert_eq!(
        (status, refused.name.as_str()),
        (200, "BatchCheckDeviceNamesResponse")
    );
    assert_eq!(
        refused.child("Code").text,
        "iot.device.InvalidDeviceNameExisted"
    );
    let data = refused.child("Data");
    let list = data.child("InvalidDeviceNameList");
    let names: Vec<_> = list
        .children
        .iter()
        .map(|name| (&*name.name, &*name.text))
        .collect();
    let name = "InvalidDeviceName";
    assert_eq!(
        names,
        [
            (name, "a&amp;&lt;b&gt;"),
            (name, "\u{fffd}".repeat(4).as_str())
        ]
    );
    assert_eq!(data.child("RepeatedDeviceNameList").children, []);
    let details = data.child("InvalidDetailList");
    assert_eq!(details.children.len(), 2);
    assert_eq!(details.children[0].name, "InvalidDetailList");
    server.stop().await;
}

#[tokio::test]
async fn errors_of_the_gateway_are_xml_for_whoever_names_no_format() {
    let server = Server::instant().await;
    let query = "Action=QueryProduct&AccessKeyId=nobody";

    let (status, error) = answer(&server, query, "").await;

    assert_eq!((status, error.name.as_str()), (404, "Error"));
    assert_eq!(error.child("Code").text, "InvalidAccessKeyId.NotFound");
    assert_eq!(error.child("HostId").text, server.address);
    assert_eq!(error.child("RequestId").text.len(), 36);
    assert_eq!(
        error.child("Message").text,
        "Specified access key is not found."
    );
    let url = format!("http://{}/elsewhere", server.address);
    let elsewhere = server.http.get(url).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404);
    let elsewhere = Element::parse(&elsewhere.text().await.unwrap());
    assert_eq!(elsewhere.child("Code").text, "InvalidAction.NotFound");
    server.stop().await;
}
